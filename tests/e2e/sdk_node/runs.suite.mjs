// Runs without streams: create, poll, tool loops, cancel, steps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  asking,
  assistant,
  collect,
  longText,
  messages,
  on,
  outputsFor,
  pendingCalls,
  quick,
  runs,
  steps,
  textOf,
  threads,
} from './story.mjs';

const lastText = async (threadId) => textOf((await messages.list(threadId, { limit: 1 })).data[0]);

/** A run that waits for the outputs of `tools`, on a thread of its own. */
async function waitingRun(model, ...tools) {
  const body = { assistant_id: await assistant(model, ...tools) };
  return runs.createAndPoll(await asking('Paris'), body, quick);
}

const pathOf = (run) => ({ thread_id: run.thread_id, run_id: run.id });

test('a run answers when polled', async () => {
  const threadId = await asking('Paris');

  const run = await runs.createAndPoll(threadId, { assistant_id: await assistant('echo') });

  const [answer] = (await messages.list(threadId, { run_id: run.id })).data;
  assert.equal(run.status, 'completed');
  assert.equal(run.usage.total_tokens, run.usage.prompt_tokens + run.usage.completion_tokens);
  assert.equal(textOf(answer), 'Paris');
});

test('a run is created queued, polled, retrieved, updated and listed', async () => {
  const threadId = await asking('Paris');

  const created = await runs.create(threadId, { assistant_id: await assistant('echo') });
  const ended = await on(runs, 'poll', pathOf(created), undefined, quick);
  const updated = await on(runs, 'update', pathOf(created), { metadata: { kept: 'yes' } });

  assert.equal(created.status, 'queued');
  assert.equal(created.expires_at, created.created_at + 600);
  assert.equal(ended.status, 'completed');
  assert.deepEqual(updated, { ...ended, metadata: { kept: 'yes' } });
  assert.deepEqual(await on(runs, 'retrieve', pathOf(created)), updated);
  assert.deepEqual(await collect(runs.list(threadId, { order: 'asc' })), [updated]);
});

test('a thread and its run are created at once', async () => {
  const body = {
    assistant_id: await assistant('echo'),
    thread: { messages: [{ role: 'user', content: 'hi' }] },
  };

  const created = await threads.createAndRun(body);
  const ended = await on(runs, 'poll', pathOf(created), undefined, quick);
  const polled = await threads.createAndRunPoll(body, quick);

  assert.deepEqual([created.status, ended.status], ['queued', 'completed']);
  assert.equal(polled.status, 'completed');
  assert.equal(await lastText(polled.thread_id), 'hi');
});

test('one call is answered', async () => {
  const waiting = await waitingRun('tools', 'get_weather');
  assert.equal(waiting.usage, null);

  const outputs = { tool_outputs: outputsFor(waiting) };
  const resumedRun = await on(runs, 'submitToolOutputs', pathOf(waiting), outputs);
  const ended = await on(runs, 'poll', pathOf(waiting), undefined, quick);

  assert.deepEqual([resumedRun.status, resumedRun.required_action], ['queued', null]);
  assert.equal(ended.status, 'completed');
  assert.ok((await lastText(waiting.thread_id)).includes('get_weather says 22C'));
});

test('parallel calls stand in one step', async () => {
  const waiting = await waitingRun('tools', 'get_weather', 'get_time');
  const called = pendingCalls(waiting);
  const outputs = { tool_outputs: outputsFor(waiting) };

  const ended = await on(runs, 'submitToolOutputsAndPoll', pathOf(waiting), outputs, quick);

  const listed = await collect(on(steps, 'list', pathOf(ended), { order: 'asc', limit: 1 }));
  assert.equal(ended.status, 'completed');
  assert.deepEqual(
    called.map((call) => call.function.name),
    ['get_weather', 'get_time'],
  );
  assert.deepEqual(
    listed.map((step) => step.type),
    ['tool_calls', 'message_creation'],
  );
  assert.deepEqual(
    listed[0].step_details.tool_calls.map((call) => [call.id, call.function.output]),
    called.map((call) => [call.id, `${call.function.name} says 22C`]),
  );
  for (const step of listed) {
    const path = { ...pathOf(ended), step_id: step.id };
    assert.deepEqual(await on(steps, 'retrieve', path), step);
  }
});

test('calls come in as many rounds as the model likes', async () => {
  let run = await waitingRun('tools-3', 'get_weather');
  let rounds = 0;

  while (run.status === 'requires_action') {
    rounds += 1;
    const outputs = { tool_outputs: outputsFor(run) };
    run = await on(runs, 'submitToolOutputsAndPoll', pathOf(run), outputs, quick);
  }

  assert.deepEqual([rounds, run.status], [3, 'completed']);
});

test('a cancelled run frees its thread', async () => {
  const threadId = await asking('Paris');
  const run = await runs.create(threadId, { assistant_id: await assistant('hang') });

  const cancelling = await on(runs, 'cancel', pathOf(run));
  const ended = await on(runs, 'poll', pathOf(run), undefined, quick);

  assert.deepEqual([cancelling.status, ended.status], ['cancelling', 'cancelled']);
  assert.ok((await messages.create(threadId, { role: 'user', content: 'free' })).id);
});

test('a run out of tokens is incomplete', async () => {
  const run = await runs.createAndPoll(
    await asking(longText),
    { assistant_id: await assistant('echo'), max_completion_tokens: 5 },
    quick,
  );

  assert.equal(run.status, 'incomplete');
  assert.equal(run.incomplete_details.reason, 'max_completion_tokens');
});

test('extra fields and headers are accepted', async () => {
  const body = { assistant_id: await assistant('echo'), user: 'customer_42', seed: 7 };
  const options = { ...quick, headers: { 'x-ringside-customer': 'customer_42' } };

  const run = await runs.createAndPoll(await asking('Paris'), body, options);

  assert.equal(run.status, 'completed');
});
