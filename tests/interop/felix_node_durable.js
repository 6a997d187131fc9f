// SPDX-License-Identifier: Apache-2.0
// What the published Node addon does across a kill -9 of the node; run twice by test_published_node.py (durable.py).
// Arguments: package folder, address, token, CA file, a file of its own, `before` or `after`.
const assert = require("assert");
const fs = require("fs");
const [folder, address, token, caFile, path, word] = process.argv.slice(2);
const { Client } = require(`${folder}/node_modules/felix-client-linux-x64-gnu`);
const [T, NS] = ["t1", "default"];
const text = (bytes) => Buffer.from(bytes).toString();

async function take(subscription, count) {
  const events = [];
  while (events.length < count) {
    const event = await subscription.nextEvent();
    assert(event, `only ${events.length} of ${count} events came`);
    events.push(event.event ?? event);
  }
  return events;
}

// One change of a watch.
async function hear(watch) {
  const { change } = await watch.recv();
  return change;
}

async function before(client) {
  for (let i = 0; i < 100; i++) await client.publish(T, NS, "kept", Buffer.from(`m${i}`));
  await client.publish(T, NS, "kept", Buffer.from("again"), undefined, undefined, true);
  for (let i = 0; i < 64; i++) await client.publish(T, NS, "short", Buffer.alloc(131072));
  await client.cachePut(T, NS, "kept", "w/1", Buffer.from("one"));
  const watch = await client.watchCache(T, NS, "kept", undefined, "w/", undefined, true);
  assert.strictEqual(watch.retainedCount, 1n);
  const first = await hear(watch);
  await client.cachePut(T, NS, "kept", "w/2", Buffer.from("two"));
  await client.cacheDelete(T, NS, "kept", "w/1");
  const [put, gone] = [await hear(watch), await hear(watch)];
  assert(first.offset < put.offset && put.offset < gone.offset);
  await watch.close();
  assert.strictEqual(await client.counterAdd(T, NS, "kept", "visits", 41), 41);
  fs.writeFileSync(path, JSON.stringify({ put: `${put.offset}`, gone: `${gone.offset}` }));
  console.log("before the kill: ok");
}

async function after(client) {
  const known = JSON.parse(fs.readFileSync(path));
  let events = await client.subscribe(T, NS, "kept", "earliest");
  (await take(events, 101)).forEach((event, i) => {
    assert.strictEqual(event.offset, BigInt(i));
    assert.strictEqual(text(event.payload), i < 100 ? `m${i}` : "again");
  });
  await events.close();
  events = await client.subscribe(T, NS, "kept", 60n);
  assert.strictEqual((await take(events, 1))[0].offset, 60n);
  await client.publish(T, NS, "kept", Buffer.from("after"));
  assert.strictEqual(text((await take(events, 41))[40].payload), "after");
  await events.close();
  console.log("offsets after the kill: ok");

  await assert.rejects(client.subscribe(T, NS, "short", 0n), /offset/);
  await assert.rejects(client.subscribe(T, NS, "short", 1000000n), /offset/);
  events = await client.subscribe(T, NS, "short", "earliest");
  assert((await take(events, 1))[0].offset > 0n);
  await events.close();
  console.log("cursor errors: ok");

  assert.strictEqual(text(await client.cacheGet(T, NS, "kept", "w/2")), "two");
  let watch = await client.watchCache(T, NS, "kept", undefined, "w/", BigInt(known.put));
  assert.strictEqual(watch.resumeOffset, BigInt(known.put));
  assert.strictEqual(watch.resnapshot, false);
  const [put, gone] = [await hear(watch), await hear(watch)];
  assert.deepStrictEqual([put.key, text(put.value), `${put.offset}`], ["w/2", "two", known.put]);
  assert.deepStrictEqual([gone.key, gone.value ?? null, `${gone.offset}`], ["w/1", null, known.gone]);
  await watch.close();
  watch = await client.watchCache(T, NS, "kept", "w/2", undefined, undefined, true);
  assert.strictEqual((await hear(watch)).key, "w/2");
  await watch.close();
  await assert.rejects(client.watchCache(T, NS, "kept", undefined, "w/", 1n << 62n), /offset/);
  console.log("watches after the kill: ok");

  assert.strictEqual(await client.counterGet(T, NS, "kept", "visits"), 41);
  assert.strictEqual(await client.counterAdd(T, NS, "kept", "visits", 1), 42);
  console.log("counters after the kill: ok");
}

async function main() {
  const client = await Client.connect(address, T, token, "localhost", caFile);
  await { before, after }[word](client);
  await client.close();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
setTimeout(() => { console.error("the client hangs"); process.exit(1); }, 150000);
