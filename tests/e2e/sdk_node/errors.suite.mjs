// What an application catches: exception classes, codes, parameters and OpenAI's own words.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  asking,
  assistant,
  assistants,
  client,
  messages,
  on,
  OpenAI,
  outputsFor,
  quick,
  refusal,
  runs,
  steps,
  threads,
} from './story.mjs';

const badRequests = {
  'bare model name': [
    () => assistants.create({ model: 'gpt-4o' }),
    'model',
    'invalid_model',
    /fc:openai\/gpt-4o/,
  ],
  'hosted tool': [
    () => assistants.create({ model: 'fc:sandbox/echo', tools: [{ type: 'file_search' }] }),
    'tools[0].type',
    'unsupported_tool_type',
    /file_search/,
  ],
  'missing field': [
    () => assistants.create({}),
    'model',
    'missing_required_parameter',
    /^Missing required parameter: 'model'\.$/,
  ],
  'unknown field': [
    () => threads.create({ colour: 'red' }),
    'colour',
    'unknown_parameter',
    /^Unknown parameter: 'colour'\.$/,
  ],
  'wrong type': [
    () => threads.create({ metadata: { modified: true } }),
    'metadata.modified',
    'invalid_type',
    /^Invalid type for 'metadata\.modified': expected a string, but got a boolean instead\.$/,
  ],
  'wrong value': [
    () => threads.create({ messages: [{ role: 'system', content: 'x' }] }),
    'messages[0].role',
    'invalid_value',
    /^Invalid value: 'system'\. Supported values are: 'user' and 'assistant'\.$/,
  ],
  'limit too small': [
    () => assistants.list({ limit: 0 }),
    'limit',
    'integer_below_min_value',
    /^Invalid 'limit': integer below minimum value\. Expected a value >= 1, but got 0 instead\.$/,
  ],
};

for (const [what, [call, param, code, words]] of Object.entries(badRequests)) {
  test(`a bad request says what is wrong and where: ${what}`, async () => {
    const error = await refusal(call());

    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.deepEqual([error.type, error.param, error.code], ['invalid_request_error', param, code]);
    assert.match(error.error.message, words);
    assert.ok(error.requestID ?? error.request_id);
  });
}

test('unknown objects are not found', async () => {
  const threadId = await asking('hi');
  const body = { assistant_id: await assistant('echo') };
  const run = await runs.createAndPoll(threadId, body, quick);
  const path = { thread_id: threadId };
  const calls = {
    assistant: [() => assistants.retrieve('asst_0'), 'asst_0'],
    thread: [() => threads.retrieve('thread_0'), 'thread_0'],
    message: [() => on(messages, 'retrieve', { ...path, message_id: 'msg_0' }), 'msg_0'],
    run: [() => on(runs, 'retrieve', { ...path, run_id: 'run_0' }), 'run_0'],
    'run step': [
      () => on(steps, 'retrieve', { ...path, run_id: run.id, step_id: 'step_0' }),
      'step_0',
    ],
  };

  for (const [noun, [call, id]] of Object.entries(calls)) {
    const error = await refusal(call());
    assert.ok(error instanceof OpenAI.NotFoundError, String(error));
    assert.deepEqual(error.error, {
      message: `No ${noun} found with id '${id}'.`,
      type: 'invalid_request_error',
      param: null,
      code: null,
    });
  }
});

test('a wrong key is refused', async () => {
  const stranger = new OpenAI({ apiKey: 'ko_wrong' });

  const error = await refusal(stranger.beta.assistants.list());

  assert.ok(error instanceof OpenAI.AuthenticationError, String(error));
  assert.equal(error.code, 'invalid_api_key');
});

test('a busy thread takes no second run and no message', async () => {
  const threadId = await asking('hi');
  const body = { assistant_id: await assistant('hang') };
  const run = await runs.create(threadId, body);

  // Counted by the relay: it must be sent once.
  const options = { headers: { 'x-e2e-case': 'locked-run' } };
  const secondRun = await refusal(runs.create(threadId, body, options));
  const message = await refusal(messages.create(threadId, { role: 'user', content: 'now?' }));
  const path = { thread_id: threadId, run_id: run.id };
  await on(runs, 'cancel', path);
  await on(runs, 'poll', path, undefined, quick);

  assert.ok(secondRun instanceof OpenAI.ConflictError, String(secondRun));
  assert.deepEqual(secondRun.error, {
    message: `Thread ${threadId} already has an active run ${run.id}.`,
    type: 'conflict_error',
    param: null,
    code: 'conversation_locked',
  });
  assert.ok(message instanceof OpenAI.BadRequestError, String(message));
  assert.equal(message.code, 'conversation_locked');
  assert.equal(
    message.error.message,
    `Can't add messages to ${threadId} while a run ${run.id} is active.`,
  );
});

test('tool outputs are taken whole or not at all', async () => {
  const threadId = await asking('Paris');
  const body = { assistant_id: await assistant('tools', 'get_weather', 'get_time') };
  const waiting = await runs.createAndPoll(threadId, body, quick);
  const path = { thread_id: threadId, run_id: waiting.id };
  const outputs = outputsFor(waiting);

  const partial = on(runs, 'submitToolOutputs', path, { tool_outputs: outputs.slice(1) });
  const error = await refusal(partial);
  const all = { tool_outputs: outputs };
  const ended = await on(runs, 'submitToolOutputsAndPoll', path, all, quick);
  const late = await refusal(on(runs, 'submitToolOutputs', path, all));

  assert.ok(error instanceof OpenAI.BadRequestError, String(error));
  assert.match(
    error.error.message,
    /^Expected tool outputs for call_ids \['call_\w+', 'call_\w+'\], got \['call_\w+'\]$/,
  );
  assert.equal(ended.status, 'completed');
  assert.equal(late.error.message, 'Runs in status "completed" do not accept tool outputs.');
});

for (const [model, kind, code] of [
  ['fail-500', 'InternalServerError', 'provider_unavailable'],
  ['rate-limit', 'RateLimitError', 'rate_limit_exceeded'],
  ['quota', 'RateLimitError', 'insufficient_quota'],
  ['too-long', 'BadRequestError', 'context_length_exceeded'],
]) {
  // Retries are the proxy's business; the SDK is told not to add its own (the relay checks).
  test(`a failing provider is reported once: ${model}`, async () => {
    const ask = { model: `fc:sandbox/${model}`, messages: [{ role: 'user', content: 'hi' }] };

    const error = await refusal(client.chat.completions.create(ask));

    assert.ok(error instanceof OpenAI[kind], String(error));
    assert.equal(error.code, code);
  });
}
