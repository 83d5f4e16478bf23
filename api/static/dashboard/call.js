// Calls the JSON API. Any failure becomes a Problem with a sentence for a person.

export class Problem extends Error {
  constructor(sentence, { status = 0, details = {} } = {}) {
    super(sentence);
    this.status = status;
    this.details = details;
  }
}

export async function call(method, path, body) {
  const hasBody = body !== undefined;
  // Content-Type even without a body: it proves to the API that no other site sent the request.
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, headers, body: hasBody ? JSON.stringify(body) : undefined });
  } catch {
    throw new Problem("BillStack cannot be reached. Check your connection and try again.");
  }
  const text = await response.text();
  const answer = parse(text);
  if (response.ok) {
    return answer;
  }
  throw problemOf(response.status, answer, response.headers.get("Retry-After"));
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return {};
  }
}

function problemOf(status, answer, retryAfter) {
  const details = answer.details ?? {};
  let sentence = asSentence(answer.error ?? `BillStack answered ${status}`);
  if (details.requestId) {
    sentence += ` Stripe's request: ${details.requestId}.`;
  }
  if (status === 429 && retryAfter) {
    sentence += ` Try again in ${retryAfter} s.`;
  }
  return new Problem(sentence, { status, details });
}

// An API name at the beginning, such as secretKey or metadata.project_id, keeps its case.
export function asSentence(text) {
  const trimmed = text.trim();
  const isName = /^[a-z]+([A-Z]|[._]\w)/.test(trimmed);
  return (isName ? trimmed : trimmed.charAt(0).toUpperCase() + trimmed.slice(1)) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
