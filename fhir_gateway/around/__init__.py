"""What is around a plan: services and referrals, other people's formats, readings, questionnaires, what all plans teach.

Each module turns what somebody brings (a file, a message, a form) into FHIR through the gate, or what the gate shows into what somebody
takes away. It asks the gate and decides nothing; rules without I/O are in `domain`.
"""
