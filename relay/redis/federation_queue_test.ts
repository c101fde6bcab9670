import { testFederationQueue } from "../federation/queue_contract.ts";
import { makePlace } from "./tests/place.ts";

testFederationQueue("RedisFederationQueue", makePlace);
