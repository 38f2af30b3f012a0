"""`make oracle`: fresh mutations of the examples, judged by our validator and by HL7's own, and every difference shown."""
