import { testMailbox } from "../mailbox_contract.ts";
import { makePlace } from "./tests/place.ts";

testMailbox("RedisMailbox", makePlace);
