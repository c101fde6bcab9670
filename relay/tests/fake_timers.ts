/** A timer: what it calls, when it is due, and how often again. */
interface Timer {
  readonly call: () => unknown;
  readonly every: number | undefined;
  due: number;
}

/**
 * Timers of one kind on a clock of their own, for all that starts some; the other kind goes on as
 * always, for what waits in tests. Disposing of it puts the real ones back.
 */
export class FakeTimers implements Disposable {
  readonly #timers = new Map<number, Timer>();
  readonly #restore: () => void;
  #now = 0;
  #last = 0;

  /** Replaces `setTimeout` and `clearTimeout`, or `setInterval` and `clearInterval`. */
  constructor(kind: "Timeout" | "Interval") {
    const start = `set${kind}` as const;
    const stop = `clear${kind}` as const;
    const { [start]: realStart, [stop]: realStop } = globalThis;
    Object.assign(globalThis, {
      [start]: (call: () => unknown, time: number) => {
        const every = kind === "Interval" ? time : undefined;
        this.#timers.set(++this.#last, { call, every, due: this.#now + time });
        return this.#last;
      },
      [stop]: (id: number | undefined) => void this.#timers.delete(id ?? 0),
    });
    this.#restore = () => Object.assign(globalThis, { [start]: realStart, [stop]: realStop });
  }

  /** How many there are. */
  get count(): number {
    return this.#timers.size;
  }

  /**
   * Lets time pass, in milliseconds: what is due meanwhile is called, one after the other.
   *
   * @returns When that has settled.
   */
  advance(time: number): Promise<unknown> {
    const end = this.#now + time;
    const called: unknown[] = [];
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.due <= end);
      const [id, timer] = due.sort(([, a], [, b]) => a.due - b.due)[0] ?? [];
      if (id === undefined || timer === undefined) break;
      this.#now = timer.due;
      if (timer.every === undefined) this.#timers.delete(id);
      else timer.due += timer.every;
      called.push(timer.call());
    }
    this.#now = end;
    return Promise.all(called);
  }

  /** Puts the real ones back. */
  [Symbol.dispose](): void {
    this.#restore();
  }
}
