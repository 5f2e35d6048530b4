// Every call of calls.json through the TypeScript SDK's client; one line of JSON. Run beside node_modules/@modelcontextprotocol/sdk.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, text, ...target] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const load = async (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const transport = target[0].startsWith("http")
  ? new StreamableHTTPClientTransport(new URL(target[0]), { requestInit: { headers: { Authorization: `Bearer ${target[1]}` } } })
  : new StdioClientTransport({ command: target[0], args: target.slice(1), env: process.env, stderr: "ignore" });
const client = new Client({ name: "aether-benchmark", version: "1" });
await client.connect(transport);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const statuses = [];
for (const call of JSON.parse(text)) {
  // The SDK holds each reply against the schema that the tool announced.
  const told = await client.callTool({ name: call.name, arguments: call.arguments }, undefined, { timeout: 120000 });
  statuses.push(told.structuredContent.status);
}
await client.close();
const { version } = JSON.parse((await import("node:fs")).readFileSync(`${modules}/node_modules/@modelcontextprotocol/sdk/package.json`));
console.log(JSON.stringify({ version, tools, statuses }));
process.exit(0);
