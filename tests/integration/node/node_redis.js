// node-redis against a server on port argv[2]. Says "restart" and waits for a line on stdin, then
// goes on with the same client; says "done" at the end, exits with an error when something is not
// as it should be.
const assert = require('node:assert');
const readline = require('node:readline');
const { createClient } = require('redis');

async function exercise(client) {
  assert.strictEqual(await client.set('k', 'v', { EX: 100 }), 'OK');
  assert.strictEqual(await client.get('k'), 'v');
  await client.hSet('h', { name: 'Kettle', qty: 7 });
  assert.deepStrictEqual({ ...await client.hGetAll('h') }, { name: 'Kettle', qty: '7' });
  // One tick's commands are a pipeline.
  const values = await Promise.all(Array.from({ length: 2000 }, (_, i) =>
    client.set(`p:${i}`, `${i}`).then(() => client.get(`p:${i}`))));
  values.forEach((value, i) => assert.strictEqual(value, `${i}`));
  assert.deepStrictEqual(await client.multi().set('a', '1').incr('a').get('none').exec(),
    ['OK', 2, null]);
  await assert.rejects(client.incr('h'), /WRONGTYPE/);
  const seen = new Set();
  for await (const key of client.scanIterator({ MATCH: 'p:*', COUNT: 100 })) seen.add(key);
  assert.strictEqual(seen.size, 2000);
}

// A command that is sent between the peer's end and node's notice of it fails; it is the client's to
// try again.
async function connected(client) {
  for (let i = 0; i < 500; i++) {
    try {
      await client.ping();
      return;
    } catch (error) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Error('not connected again');
}

async function main() {
  const client = createClient({
    url: `redis://127.0.0.1:${process.argv[2]}`,
    name: 'node-test',
    socket: { reconnectStrategy: () => 20 },
  });
  client.on('error', () => {}); // it reconnects
  await client.connect();
  await exercise(client);
  const lines = readline.createInterface({ input: process.stdin });
  console.log('restart');
  await new Promise((resolve) => lines.once('line', resolve));
  await connected(client);
  await exercise(client);
  lines.close();
  await client.quit();
  console.log('done');
}

main().catch((error) => { console.error(error); process.exit(1); });
