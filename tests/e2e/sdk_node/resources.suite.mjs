// Assistants, threads and messages: create, retrieve, update, list, delete.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assistants,
  collect,
  messages,
  on,
  OpenAI,
  remove,
  textOf,
  threads,
  tool,
} from './story.mjs';

const model = 'fc:sandbox/echo';

test('an assistant keeps what it was given, and an update changes only what is given', async () => {
  const created = await assistants.create({
    model,
    name: 'Ada',
    instructions: 'Be brief.',
    tools: [tool('get_weather')],
    metadata: { team: 'blue' },
    temperature: 0.5,
  });
  assert.match(created.id, /^asst_\w+$/);
  assert.equal(created.tools[0].function.name, 'get_weather');
  assert.deepEqual(await assistants.retrieve(created.id), created);

  const updated = await assistants.update(created.id, { name: 'Eve', instructions: null });
  assert.deepEqual(updated, { ...created, name: 'Eve', instructions: null });
  assert.deepEqual(await assistants.retrieve(created.id), updated);
});

test('an assistant is gone after its deletion', async () => {
  const { id } = await assistants.create({ model });

  const deleted = await assistants[remove](id);

  assert.deepEqual(deleted, { id, object: 'assistant.deleted', deleted: true });
  await assert.rejects(assistants.retrieve(id), OpenAI.NotFoundError);
});

test('assistants are listed page by page', async () => {
  const ids = [];
  for (let n = 0; n < 5; n += 1) ids.push((await assistants.create({ model })).id);
  const mine = (listed) => listed.map((item) => item.id).filter((id) => ids.includes(id));

  const upwards = await collect(assistants.list({ order: 'asc', limit: 2, after: ids[0] }));
  const downwards = await collect(assistants.list({ limit: 100 }));
  const page = await assistants.list({ order: 'asc', limit: 2, before: ids[3] });

  assert.deepEqual(mine(upwards), ids.slice(1));
  assert.deepEqual(mine(downwards), ids.toReversed());
  assert.deepEqual(mine(page.data), ids.slice(1, 3));
});

test('a thread keeps its messages and metadata until it is deleted', async () => {
  const thread = await threads.create({
    messages: [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
    ],
    metadata: { a: '1', b: '2' },
  });
  const listed = (await messages.list(thread.id)).data;
  assert.deepEqual(listed.map(textOf), ['two', 'one']);

  const updated = await threads.update(thread.id, { metadata: { b: '3' } });
  assert.deepEqual(updated, { ...thread, metadata: { b: '3' } });
  assert.deepEqual(await threads.retrieve(thread.id), updated);

  assert.equal((await threads[remove](thread.id)).deleted, true);
  await assert.rejects(threads.retrieve(thread.id), OpenAI.NotFoundError);
});

test('a message is created in parts, retrieved, updated and deleted', async () => {
  const thread = await threads.create();
  const created = await messages.create(thread.id, {
    role: 'user',
    content: [
      { type: 'text', text: 'look' },
      { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
    ],
  });
  const path = { thread_id: thread.id, message_id: created.id };
  assert.equal(created.status, 'completed');
  assert.deepEqual(created.content, [
    { type: 'text', text: { value: 'look', annotations: [] } },
    { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'auto' } },
  ]);
  assert.deepEqual(await on(messages, 'retrieve', path), created);

  const updated = await on(messages, 'update', path, { metadata: { seen: 'yes' } });
  assert.deepEqual(updated, { ...created, metadata: { seen: 'yes' } });

  assert.equal((await on(messages, remove, path)).deleted, true);
  assert.deepEqual((await messages.list(thread.id)).data, []);
});

for (const order of ['asc', 'desc']) {
  test(`messages are listed page by page, ${order}`, async () => {
    const words = ['one', 'two', 'three', 'four', 'five'];
    const { id } = await threads.create({
      messages: words.map((content) => ({ role: 'user', content })),
    });

    const all = await collect(messages.list(id, { order, limit: 2 }));
    const before = await messages.list(id, { order, limit: 2, before: all[3].id });

    assert.deepEqual(all.map(textOf), order === 'asc' ? words : words.toReversed());
    assert.deepEqual(before.data, all.slice(1, 3));
  });
}
