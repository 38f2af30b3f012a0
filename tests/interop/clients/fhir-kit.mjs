// fhir-kit-client on the gateway: `node fhir-kit.mjs BASE TOKEN PATIENT` prints one JSON object of what it saw.
import { Client } from "fhir-kit-client";

const [baseUrl, bearerToken, patient] = process.argv.slice(2);
const client = new Client({ baseUrl, bearerToken });
const seen = {};

const smart = await client.smartAuthMetadata();
seen.token_endpoint = String(smart.tokenUrl);
const statement = await client.capabilityStatement();
seen.fhirVersion = statement.fhirVersion;

let page = await client.search({ resourceType: "Goal", searchParams: { patient, _count: 1, _total: "accurate" } });
seen.total = page.total;
seen.ids = [];
while (page) {
  for (const e of page.entry ?? []) seen.ids.push(e.resource.id);
  page = await client.nextPage({ bundle: page });
}

const goal = {
  resourceType: "Goal", lifecycleStatus: "proposed", description: { text: "Walk to the choir" }, subject: { reference: `Patient/${patient}` },
};
const made = await client.create({ resourceType: "Goal", body: goal });
seen.created = made.id;
const read = await client.read({ resourceType: "Goal", id: made.id });
const changed = { ...read, lifecycleStatus: "active" };
const ifMatch = (version) => ({ headers: { "If-Match": `W/"${version}"` } });
const updated = await client.update({ resourceType: "Goal", id: made.id, body: changed, options: ifMatch(read.meta.versionId) });
seen.version = updated.meta.versionId;
try {
  await client.update({ resourceType: "Goal", id: made.id, body: { ...changed, lifecycleStatus: "on-hold" }, options: ifMatch(read.meta.versionId) });
  seen.stale = 200;
} catch (error) {
  seen.stale = error.response.status;
  seen.outcome = error.response.data.resourceType;
}
await client.patch({
  resourceType: "Goal", id: made.id, jsonPatch: [{ op: "replace", path: "/lifecycleStatus", value: "on-hold" }],
  options: ifMatch(updated.meta.versionId),
});
seen.left = "on-hold";
seen.left_version = "3";
console.log(JSON.stringify(seen));
