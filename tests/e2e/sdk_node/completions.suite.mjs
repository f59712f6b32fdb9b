// What needs no assistant: chat completions, embeddings, models.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { client, collect, OpenAI, tool } from './story.mjs';

const { completions } = client.chat;
const messages = [{ role: 'user', content: 'How is Paris?' }];
const tools = [tool('get_weather'), tool('get_time')];

test('chat answers', async () => {
  const completion = await completions.create({ model: 'fc:sandbox/echo', messages });

  const [choice] = completion.choices;
  assert.equal(choice.message.content, 'How is Paris?');
  assert.equal(choice.finish_reason, 'stop');
  assert.ok(completion.usage.completion_tokens > 0);
});

test('chat streams, with the usage last', async () => {
  const stream = await completions.create({
    model: 'fc:sandbox/echo',
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });

  const chunks = await collect(stream);
  const last = chunks.pop();

  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join('');
  assert.equal(text, 'How is Paris?');
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
});

test('chat calls functions, plain and streamed', async () => {
  const plain = await completions.create({ model: 'fc:sandbox/tools', messages, tools });
  const stream = await completions.create({
    model: 'fc:sandbox/tools',
    messages,
    tools,
    stream: true,
  });
  const streamed = [];
  for await (const chunk of stream) {
    for (const call of chunk.choices[0].delta.tool_calls ?? []) {
      streamed[call.index] ??= { name: '', arguments: '' };
      streamed[call.index].name += call.function.name ?? '';
      streamed[call.index].arguments += call.function.arguments ?? '';
    }
  }

  const { finish_reason, message } = plain.choices[0];
  assert.equal(finish_reason, 'tool_calls');
  assert.deepEqual(
    message.tool_calls.map((call) => call.function),
    streamed,
  );
});

test('a chat stream that breaks is an error', async () => {
  const stream = await completions.create({
    model: 'fc:sandbox/break-midstream',
    messages,
    stream: true,
  });

  await assert.rejects(collect(stream), OpenAI.APIError);
});

test('embeddings are the same in both encodings', async () => {
  const ask = { model: 'fc:sandbox/embed', input: ['one', 'two'] };

  const byDefault = await client.embeddings.create(ask);
  const asFloats = await client.embeddings.create({ ...ask, encoding_format: 'float' });

  assert.equal(byDefault.data.length, 2);
  for (const [n, { embedding }] of byDefault.data.entries()) {
    const floats = asFloats.data[n].embedding;
    assert.equal(embedding.length, floats.length);
    assert.ok(embedding.every((value, i) => Math.abs(value - floats[i]) < 1e-6));
  }
});

test('models are listed and retrieved', async () => {
  const models = await collect(client.models.list());

  const echo = models.find((model) => model.id === 'fc:sandbox/echo');
  assert.equal(echo.owned_by, 'sandbox');
  assert.deepEqual(await client.models.retrieve('fc:sandbox/echo'), echo);
});
