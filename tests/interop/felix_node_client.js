// SPDX-License-Identifier: Apache-2.0
// What the published Node addon does against a node; run by test_published_node.py.
// Arguments: package folder, address, token, CA file, refused token.
const assert = require("assert");
const [folder, address, token, caFile, badToken] = process.argv.slice(2);
const { Client } = require(`${folder}/node_modules/felix-client-linux-x64-gnu`);
const [T, NS] = ["t1", "default"];

async function take(subscription, count) {
  const events = [];
  while (events.length < count) {
    const event = await subscription.nextEvent();
    assert(event, `only ${events.length} of ${count} events came`);
    events.push(event);
  }
  return events;
}

async function main() {
  const client = await Client.connect(address, T, token, "localhost", caFile);
  console.log("connected to", await client.endpoints());

  let events = await client.subscribe(T, NS, "interop");
  for (let i = 0; i < 200; i++) await client.publish(T, NS, "interop", Buffer.from(`m${i}`));
  const got = await take(events, 200);
  got.forEach((event, i) => assert.strictEqual(Buffer.from(event.payload).toString(), `m${i}`));
  await events.close();
  console.log("publish and subscribe: ok");

  assert.strictEqual(await client.streamShards(T, NS, "interop-sharded"), 4);
  const sharded = await client.subscribeSharded(T, NS, "interop-sharded");
  for (let i = 0; i < 100; i++)
    await client.publish(T, NS, "interop-sharded", Buffer.from(`k${i % 7}:${i}`), Buffer.from(`k${i % 7}`));
  const last = new Map();
  for (const record of await take(sharded, 100)) {
    const payload = Buffer.from((record.event ?? record).payload).toString();
    const [key, number] = payload.split(":");
    assert(Number(number) > (last.get(key) ?? -1), "order per key");
    last.set(key, Number(number));
  }
  assert.strictEqual(last.size, 7);
  await sharded.close();
  console.log("keyed publish: ok");

  assert(!(await client.cacheGet(T, NS, "primary", "absent")));
  await client.cachePut(T, NS, "primary", "k", Buffer.from("v1"));
  assert.strictEqual(Buffer.from(await client.cacheGet(T, NS, "primary", "k")).toString(), "v1");
  await client.cachePut(T, NS, "primary", "short", Buffer.from("soon gone"), 0.2);
  const deadline = Date.now() + 20000;
  while (await client.cacheGet(T, NS, "primary", "short")) {
    assert(Date.now() < deadline, "the TTL passed and the key is still there");
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.strictEqual(Buffer.from(await client.cacheDelete(T, NS, "primary", "k")).toString(), "v1");
  assert(!(await client.cacheGet(T, NS, "primary", "k")));
  console.log("cache: ok");

  await assert.rejects(client.publish(T, NS, "never-created", Buffer.from("x")));
  await client.close();

  await assert.rejects(Client.connect(address, T, badToken, "localhost", caFile));
  console.log("refused token: ok");
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
setTimeout(() => { console.error("the client hangs"); process.exit(1); }, 150000);
