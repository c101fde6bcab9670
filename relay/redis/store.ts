import type { Store } from "../store.ts";
export class RedisStore {
  static open(_url: string): Promise<Store> {
    return Promise.reject(new Error("TODO"));
  }
}
