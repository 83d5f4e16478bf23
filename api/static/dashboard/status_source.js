// The source of the live status: server-sent events or, while those fail, polling.
import { Problem, call } from "./call.js";

const BUSY_MS = 1500;
const IDLE_MS = 15_000;
const LONGEST_BACKOFF_MS = 30_000;
// Streams end by themselves every two minutes, and the browser opens the next. A stream that ends without a message
// failed.
const PATIENCE = 2;
const STREAM_AGAIN_MS = 30_000;
// A stream that is silent for this long is dead, even if the network does not say so.
const LONGEST_SILENCE_MS = 150_000;

export class StatusSource {
  #url;
  #take;
  #complain;
  #run = 0; // what an earlier run still waits for is not ours any more
  #stream;
  #timer;
  #latest;
  #isTaking = false;
  #failures = 0;
  #silentEnds = 0;
  #streamAgainAt = 0;

  // `take(status)` may be asynchronous and throw a Problem. It returns whether to expect a change soon.
  constructor(url, { take, complain }) {
    this.#url = url;
    this.#take = take;
    this.#complain = complain;
  }

  start() {
    this.stop();
    if (Date.now() >= this.#streamAgainAt) {
      this.#openStream();
    } else {
      this.#askIn(0);
    }
  }

  // A hidden page holds no stream: a browser opens only six connections to a host, for all its tabs.
  stop() {
    this.#run += 1;
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#stream = undefined;
    this.#latest = undefined;
  }

  #openStream() {
    const stream = new EventSource(`${this.#url}/stream`);
    this.#stream = stream;
    this.#expectWord();
    stream.onopen = () => this.#expectWord();
    stream.onmessage = (event) => {
      this.#silentEnds = 0;
      this.#hear(JSON.parse(event.data));
    };
    stream.addEventListener("away", () => {
      this.#silentEnds = 0;
      this.#complain(new Problem("", { status: 503 }));
    });
    stream.onerror = () => {
      this.#silentEnds += 1;
      if (stream.readyState === EventSource.CLOSED || this.#silentEnds >= PATIENCE) {
        this.#fallBack();
      }
    };
  }

  #expectWord() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.start(), LONGEST_SILENCE_MS);
  }

  // Handles one status at a time. Of those that arrive meanwhile, only the latest.
  async #hear(status) {
    this.#latest = status;
    if (this.#isTaking) {
      return;
    }
    this.#isTaking = true;
    const run = this.#run;
    try {
      while (this.#latest) {
        const next = this.#latest;
        this.#latest = undefined;
        await this.#take(next);
      }
    } catch (error) {
      const problem = asProblem(error);
      if (run === this.#run) {
        this.#complain(problem);
        this.#fallBack();
      }
    } finally {
      this.#isTaking = false;
    }
  }

  #fallBack() {
    this.stop();
    this.#silentEnds = 0;
    this.#streamAgainAt = Date.now() + STREAM_AGAIN_MS * (1 + Math.random());
    this.#askIn(0);
  }

  #askIn(delay) {
    this.#timer = setTimeout(() => this.#ask(), delay);
  }

  async #ask() {
    const run = this.#run;
    let delay;
    try {
      const status = await call("GET", this.#url);
      if (run !== this.#run) {
        return;
      }
      delay = (await this.#take(status)) ? BUSY_MS : IDLE_MS;
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      delay = Math.min(BUSY_MS * 2 ** this.#failures, LONGEST_BACKOFF_MS);
      if (run === this.#run) {
        this.#complain(asProblem(error));
      }
    }
    if (run !== this.#run) {
      return;
    }
    if (!this.#failures && Date.now() >= this.#streamAgainAt) {
      this.start();
    } else {
      this.#askIn(delay);
    }
  }
}

function asProblem(error) {
  if (error instanceof Problem) {
    return error;
  }
  throw error;
}
