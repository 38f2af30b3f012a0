// An OpenID Connect issuer that other people wrote (oidc-provider), for the tests: node issuer.mjs PORT AUDIENCE FHIR_USER
// POST /rotate gives it a new key (the old one stays published only with ?keep=1).
// POST /clients {"client_id", "jwks", "alg"}: a system that signs in by its own key (private_key_jwt); its tokens are for AUDIENCE.
import { createServer } from "node:http";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider from "oidc-provider";

const [port, audience, fhirUser] = process.argv.slice(2);
const name = `http://127.0.0.1:${port}`;
const scope = "user/*.rs user/Goal.r patient/*.rs system/*.cruds";

function key() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

let keys = [key()], systems = [], serve;
function start() {
  const provider = new Provider(name, {
    jwks: { keys }, scopes: scope.split(" "),
    clients: [{ client_id: "their-app", client_secret: "only-for-this-test-0123456789", grant_types: ["client_credentials"], redirect_uris: [],
      response_types: [], token_endpoint_auth_method: "client_secret_post", scope },
      ...systems.map(({ client_id, jwks, alg }) => ({ client_id, jwks, grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
        token_endpoint_auth_method: "private_key_jwt", token_endpoint_auth_signing_alg: alg, scope: "system/*.cruds" }))],
    enabledJWA: { clientAuthSigningAlgValues: ["ES384", "RS384"] },
    features: {
      devInteractions: { enabled: false }, clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, defaultResource: (ctx, client) => (client.clientId === "their-app" ? undefined : audience), getResourceServerInfo: (ctx, asked) => ({ scope, audience: asked,
        accessTokenTTL: 600, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } }) },
    },
    extraTokenClaims: (ctx) => ({ fhirUser: ctx.oidc.body?.user || fhirUser, organisation: ctx.oidc.body?.organisation || "D82001" }),
    ttl: { ClientCredentials: 600 },
  });
  serve = provider.callback();
}
start();
createServer((request, response) => {
  if (request.method === "POST" && request.url.startsWith("/rotate")) {
    keys = request.url.includes("keep") ? [key(), ...keys] : [key()];
    start();
    response.end("rotated");
  } else if (request.method === "POST" && request.url === "/clients") {
    let said = "";
    request.on("data", (part) => (said += part)).on("end", () => {
      const one = JSON.parse(said);
      systems = [...systems.filter((s) => s.client_id !== one.client_id), one];
      start();
      response.end("known");
    });
  } else serve(request, response);
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
