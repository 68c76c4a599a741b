// ioredis against a server on port argv[2]; see node_redis.js.
const assert = require('node:assert');
const readline = require('node:readline');
const Redis = require('ioredis');

async function exercise(client) {
  assert.strictEqual(await client.set('k', 'v', 'EX', 100), 'OK');
  assert.strictEqual(await client.get('k'), 'v');
  await client.hset('h', { name: 'Kettle', qty: 7 });
  assert.deepStrictEqual(await client.hgetall('h'), { name: 'Kettle', qty: '7' });
  const pipeline = client.pipeline();
  for (let i = 0; i < 2000; i++) pipeline.set(`p:${i}`, i).get(`p:${i}`);
  const replies = await pipeline.exec();
  assert.strictEqual(replies.length, 4000);
  replies.forEach(([error, value], i) => {
    assert.strictEqual(error, null);
    assert.strictEqual(value, i % 2 ? `${(i - 1) / 2}` : 'OK');
  });
  assert.deepStrictEqual(await client.multi().set('a', 1).incr('a').get('none').exec(),
    [[null, 'OK'], [null, 2], [null, null]]);
  await assert.rejects(client.incr('h'), /WRONGTYPE/);
  const seen = new Set();
  for await (const keys of client.scanStream({ match: 'p:*', count: 100 })) {
    keys.forEach((key) => seen.add(key));
  }
  assert.strictEqual(seen.size, 2000);
}

async function main() {
  const client = new Redis({
    port: Number(process.argv[2]),
    connectionName: 'io-test',
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
  });
  client.on('error', () => {}); // it reconnects
  await exercise(client);
  const lines = readline.createInterface({ input: process.stdin });
  console.log('restart');
  await new Promise((resolve) => lines.once('line', resolve));
  await exercise(client);
  lines.close();
  await client.quit();
  console.log('done');
}

main().catch((error) => { console.error(error); process.exit(1); });
