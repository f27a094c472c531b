// A script becomes functions. It is written as a module, and evaluated as the body of a function: QuickJS evaluates no modules at run time.
import { ScriptModule, refused } from "./module.js";

const evaluate = globalThis.eval;
/** What a script is given: a name that it has no use for. */
const SDK = "__tidegate_sdk";

/** Reads `text`, behind one line of ours, and runs nothing of it. What is wrong with it is an error with its place. */
function read(head, text) {
  try {
    // At the end of the text nothing of ours stands that it could be about.
    evaluate(`"use strict"; throw null; ${head}\n${text.trimEnd()}`);
  } catch (error) {
    if (error !== null) throw error;
  }
}

/** What a script imports, as a part of a line. */
function bound({ imports }, script, sdk) {
  for (const { name, local, at } of imports) {
    try {
      if (local !== name) read(`let ${local};`, "");
    } catch {
      throw refused(sdk, script, at, `${local} cannot be a name; choose another one behind "as"`);
    }
  }
  return imports.map(({ name, local }) => (name === "*" ? `const ${local} = ${SDK};` : `const { ${name}: ${local} } = ${SDK};`)).join(" ");
}

/** The functions of a script. Line 1 of it is line 2 of what is evaluated, which `frames` of the SDK knows. */
export function evaluated(script, sdk) {
  const module = new ScriptModule(script, sdk);
  const imports = bound(module, script, sdk);
  // By itself at first: a bracket too many would close what is around it.
  read(imports, module.text);
  const found = ["transform", "configure"].map((name) => {
    const local = module.exports.find((one) => one.name === name)?.local ?? name;
    return `${name}: typeof ${local} === "function" ? ${local} : undefined`;
  });
  const reads = module.exports.map(({ local }) => `() => ${local}`);
  // In a function of its own, so that a script may give a name of the SDK another meaning.
  const head = `(function (${SDK}) { "use strict"; const { ${Object.keys(sdk).join(", ")} } = ${SDK}; return (function () { ${imports}`;
  const plugin = evaluate(`${head}\n${module.text}\nreturn { ${found.join(", ")}, reads: [${reads.join(", ")}] };\n})(); })`)(sdk);
  module.exports.forEach(({ local, at }, n) => {
    try {
      plugin.reads[n]();
    } catch {
      throw refused(sdk, script, at, `the script exports ${local}, and nothing in it is called so`);
    }
  });
  if (plugin.transform === undefined) {
    throw new sdk.PluginError("script", "the script has no function transform; write: export function transform(event) { ... }", "invalid-config");
  }
  return plugin;
}
