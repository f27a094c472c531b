// A script is written as a module, and evaluated as the body of a function. Here its imports and exports become what may stand in one.
import { ScriptTokens } from "./tokens.js";

const IMPORT = "write: import { drop } from \"tidegate\"";
const EXPORT = "write: export function transform(event, context) { ... }";
const OUTSIDE = "as a statement outside of functions, blocks and brackets";
const NO_EXPORT = `this is no export of a script; ${EXPORT}, or export { transform }`;
const NO_DEFAULT = `a script exports by name, and has no default; ${EXPORT}`;
const ITS_OWN = `a script exports what stands in it, and nothing of others; ${EXPORT}`;
const LIBRARIES = "a script imports from \"tidegate\" alone; `tidegate function build` takes libraries";
const DECLARATIONS = new Set(["function", "class", "const", "let", "var"]);

/** Why a script is none, with the place in it. */
export function refused(sdk, script, at, reason) {
  const lines = script.slice(0, at).split("\n");
  return new sdk.PluginError("script", `${reason} (script.js:${lines.length}:${lines.at(-1).length + 1})`, "invalid-config");
}

/** As many spaces, on as many lines. */
const blank = (text) => text.replace(/[^\n\r]/g, " ");

/**
 * What is evaluated of a script: `text` has its lines and columns, `imports` are `{ name, local, at }` (of all that the SDK has, the name is `*`), and
 * `exports` are `{ local, name, at }`, of lists alone: a function that is exported where it stands has its own name.
 */
export class ScriptModule {
  imports = [];
  exports = [];
  #script;
  #sdk;
  #tokens;
  #parts = [];
  /** Up to here the text is in the parts. */
  #done = 0;

  constructor(script, sdk) {
    // A line for a shell is a comment.
    this.#script = script.replace(/^\uFEFF?#!/, (found) => found.replace("#!", "//"));
    this.#sdk = sdk;
    this.#tokens = new ScriptTokens(this.#script);
    for (let token = this.#tokens.next(); token !== null; token = this.#tokens.next()) {
      if (token.kind !== "word" || token.named) continue;
      if (token.text === "import") this.#import(token);
      if (token.text === "export") this.#export(token);
    }
    const { broken } = this.#tokens;
    if (broken !== null) throw this.#refused(broken, broken.reason);
    this.text = this.#parts.join("") + this.#script.slice(this.#done);
  }

  #refused({ at }, reason) {
    return refused(this.#sdk, this.#script, at, reason);
  }

  /** Writes `text`, which is as long, in the place of what stands there. */
  #replace(at, end, text) {
    this.#parts.push(this.#script.slice(this.#done, at), text);
    this.#done = end;
  }

  #blank(at, end) {
    this.#replace(at, end, blank(this.#script.slice(at, end)));
  }

  /** The tokens behind `import` or `export` up to one that ends it, or to one that cannot be there. */
  #clause(ends) {
    const tokens = [];
    for (let token = this.#tokens.next(); token !== null; token = this.#tokens.next()) {
      tokens.push(token);
      if (ends(token) || !(token.kind === "word" || token.kind === "string" || "{},*".includes(token.text))) break;
    }
    return tokens;
  }

  #import(token) {
    const next = this.#tokens.peek()?.text;
    if (next === "(") throw this.#refused(token, `import() loads nothing here; ${LIBRARIES}`);
    if (next === ".") throw this.#refused(token, "a script has no import.meta; context.settings is what a script is told");
    if (token.inner || !token.begins) throw this.#refused(token, `import stands inside of something; ${IMPORT}, ${OUTSIDE}`);
    const tokens = this.#clause((one) => one.kind === "string");
    const from = tokens.at(-1);
    const clause = tokens.slice(0, -1).map((one) => one.text).join(" ");
    if (from?.kind !== "string" || !/(?:^|\bfrom)$/.test(clause)) throw this.#refused(token, `this is no import of a script; ${IMPORT}`);
    if (from.text.slice(1, -1) !== "tidegate") throw this.#refused(token, `${from.text} is not here: ${LIBRARIES}`);
    const all = /^\* as (\S+) from$/.exec(clause)?.[1];
    const names = /^\{(.*)\} from$/.exec(clause)?.[1];
    if (all === undefined && names === undefined && clause !== "") throw this.#refused(token, `this is no import of a script; ${IMPORT}`);
    if (all !== undefined) this.#binds(token, "*", all);
    for (const pair of (names ?? "").split(",").map((one) => one.trim()).filter((one) => one !== "")) {
      const [, name, local] = /^(\S+)(?: as (\S+))?$/.exec(pair) ?? [];
      if (name === undefined) throw this.#refused(token, `this is no import of a script: ${pair}; ${IMPORT}`);
      if (!Object.hasOwn(this.#sdk, name)) throw this.#refused(token, `"tidegate" exports no ${name}`);
      this.#binds(token, name, local ?? name);
    }
    // Without the semicolon the statement before could go on with the one behind.
    this.#replace(token.at, token.at + 1, ";");
    this.#blank(token.at + 1, from.end);
  }

  #binds({ at }, name, local) {
    if (this.imports.some((one) => one.local === local)) throw this.#refused({ at }, `${local} is imported twice`);
    this.imports.push({ name, local, at });
  }

  #export(token) {
    const next = this.#tokens.peek();
    if (token.inner || !token.begins) throw this.#refused(token, `export stands inside of something; ${EXPORT}, ${OUTSIDE}`);
    if (next?.text === "default") throw this.#refused(token, NO_DEFAULT);
    if (next?.text === "*") throw this.#refused(token, ITS_OWN);
    if (next?.text === "{") {
      this.#list(token);
    } else if (DECLARATIONS.has(next?.text) || this.#isAsync(next)) {
      this.#blank(token.at, token.end);
    } else {
      throw this.#refused(token, NO_EXPORT);
    }
  }

  #isAsync(token) {
    if (token?.text !== "async") return false;
    this.#tokens.next();
    const next = this.#tokens.peek();
    return next?.text === "function" && !next.newline;
  }

  /** Of `export { mark as transform }` is left `;()=>  { mark              }`, which is read and never run. */
  #list(token) {
    const tokens = this.#clause((one) => one.text === "}").slice(1);
    if (tokens.pop()?.text !== "}") throw this.#refused(token, NO_EXPORT);
    if (this.#tokens.peek()?.text === "from") throw this.#refused(token, ITS_OWN);
    this.#replace(token.at, token.end, ";()=> ");
    while (tokens.length > 0) {
      const local = tokens.shift();
      const isRenamed = tokens[0]?.text === "as";
      const name = isRenamed ? tokens.splice(0, 2)[1] : local;
      const comma = tokens.shift();
      if (local.kind !== "word" || (name?.kind ?? "mark") === "mark" || (comma?.text ?? ",") !== ",") throw this.#refused(local, NO_EXPORT);
      const exported = name.kind === "string" ? name.text.slice(1, -1) : name.text;
      if (exported === "default") throw this.#refused(local, NO_DEFAULT);
      if (this.exports.some((one) => one.name === exported)) throw this.#refused(local, `${exported} is exported twice`);
      this.exports.push({ local: local.text, name: exported, at: local.at });
      this.#blank(local.end, name.end);
      // Behind the last comma stands nothing.
      if (comma !== undefined && tokens.length === 0) this.#blank(comma.at, comma.end);
    }
  }
}
