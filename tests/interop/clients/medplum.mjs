// @medplum/core's client on the gateway: `node medplum.mjs ROOT TOKEN PATIENT` prints one JSON object of what it saw.
import { MedplumClient, OperationOutcomeError } from "@medplum/core";

const [baseUrl, token, patient] = process.argv.slice(2);
const client = new MedplumClient({ baseUrl, fhirUrlPath: "fhir/", tokenUrl: "oauth/token", cacheTime: 0 });
client.setAccessToken(token);
const seen = {};

seen.ids = [];
for await (const page of client.searchResourcePages("Goal", { patient, _count: "1" })) for (const goal of page) seen.ids.push(goal.id);
seen.total = (await client.search("Goal", { patient, _total: "accurate" })).total;

const made = await client.createResource({
  resourceType: "Goal", lifecycleStatus: "proposed", description: { text: "Walk to the market" }, subject: { reference: `Patient/${patient}` },
});
seen.created = made.id;
const read = await client.readResource("Goal", made.id);
const put = (body, version) => client.put(client.fhirUrl("Goal", made.id), JSON.stringify(body), "application/fhir+json", { headers: { "If-Match": `W/"${version}"` } });
const updated = await put({ ...read, lifecycleStatus: "active" }, read.meta.versionId);
seen.version = updated.meta.versionId;
try {
  await put({ ...read, lifecycleStatus: "on-hold" }, read.meta.versionId);
  seen.stale = 200;
} catch (error) {
  seen.outcome = error instanceof OperationOutcomeError ? error.outcome.resourceType : String(error);
  seen.stale = error.outcome?.issue?.[0]?.code ?? String(error);
}
console.log(JSON.stringify(seen));
