// What RudderStack provides to a transformation.
import { log } from "tidegate";

globalThis.log = (...parts) => log.info(...parts);
