// The SDK under test, and words that several suites use.
import assert from 'node:assert/strict';

// `openai-4` and so on, names of package.json.
const sdkName = process.env.OPENAI_PACKAGE;
export const { default: OpenAI } = await import(sdkName);
export const major = Number(sdkName.split('-')[1]);

// Set up by the two variables that an application changes.
export const client = new OpenAI();
export const { assistants, threads } = client.beta;
export const { messages, runs } = threads;
export const { steps } = runs;
export const remove = major === 4 ? 'del' : 'delete';
export const quick = { pollIntervalMs: 20 };

/**
 * Calls `method` on the object that `path` leads to, outermost id first. Version 4 takes every id
 * by position, later versions the last one, and the others by name.
 */
export function on(resource, method, path, params, options) {
  const names = Object.keys(path);
  const ids = Object.values(path);
  if (major === 4) return resource[method](...ids, ...(params ? [params] : []), options);
  const id = ids.pop();
  const outer = Object.fromEntries(ids.map((outerId, n) => [names[n], outerId]));
  return resource[method](id, { ...outer, ...params }, options);
}

export const longText = Array.from({ length: 200 }, (_, n) => `word${n}`).join(' ');

export const tool = (name) => ({
  type: 'function',
  function: {
    name,
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
});

/** The id of a new assistant on a sandbox model. */
export async function assistant(model, ...tools) {
  const body = { model: `fc:sandbox/${model}`, tools: tools.map(tool) };
  return (await assistants.create(body)).id;
}

/** The id of a new thread that asks `content`. */
export async function asking(content) {
  return (await threads.create({ messages: [{ role: 'user', content }] })).id;
}

export const textOf = (message) =>
  message.content.map((part) => (part.type === 'text' ? part.text.value : '')).join('');

export const pendingCalls = (run) => {
  assert.equal(run.status, 'requires_action');
  return run.required_action.submit_tool_outputs.tool_calls;
};

/** An output for each pending call, last call first: the order is free. */
export const outputsFor = (run) =>
  pendingCalls(run)
    .map((call) => ({ tool_call_id: call.id, output: `${call.function.name} says 22C` }))
    .reverse();

/** The names with runs of the same name (deltas, mostly) as one. */
export const squeezed = (names) => names.filter((name, n) => name !== names[n - 1]);

export async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

/** What `call` is refused with. */
export async function refusal(call) {
  const [outcome] = await Promise.allSettled([call]);
  assert.equal(outcome.status, 'rejected', 'it was not refused');
  return outcome.reason;
}

export const prefix = ['thread.run.created', 'thread.run.queued', 'thread.run.in_progress'];
export const text = [
  'thread.run.step.created',
  'thread.run.step.in_progress',
  'thread.message.created',
  'thread.message.in_progress',
  'thread.message.delta',
];
export const textDone = [...text, 'thread.message.completed', 'thread.run.step.completed'];
export const calls = [
  'thread.run.step.created',
  'thread.run.step.in_progress',
  'thread.run.step.delta',
  'thread.run.requires_action',
];
export const resumed = [
  'thread.run.step.completed',
  'thread.run.queued',
  'thread.run.in_progress',
];
