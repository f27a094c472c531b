// A script becomes functions. It is written as a module, and evaluated as the body of a function: QuickJS evaluates no modules at run time.
import { PluginError } from "tidegate";

const evaluate = globalThis.eval;
/** Both stand at the beginning of a line, also where that line is part of a template. */
const IMPORT = /^import\s+(?:\{([^}]*)\}|\*\s+as\s+([\w$]+))\s+from\s+(["'])tidegate\3[ \t]*;?/gm;
const EXPORT = /^export(?=\s+(?:async\s+)?(?:function|class|const|let|var)\b)/gm;
const NOT_HERE = /^(?:import\b(?!\s*[(.])|export\b)/m;

function refused(text, index, message) {
  const line = text.slice(0, index).split("\n").length;
  return new PluginError("script", `${message} (script.js:${line}:1)`, "invalid-config");
}

/** The script without its imports and exports; every line stays the line that it was. */
export function rewritten(script, sdk) {
  const imported = script.replace(IMPORT, (whole, names, all, _, index) => {
    const lines = "\n".repeat(whole.split("\n").length - 1);
    if (all) return `const ${all} = tidegate;${lines}`;
    const pairs = names.split(",").map((name) => name.trim().split(/\s+as\s+/)).filter(([name]) => name !== "");
    for (const [name] of pairs) {
      if (!(name in sdk)) throw refused(script, index, `"tidegate" exports no ${name}`);
    }
    return `const { ${pairs.map((pair) => pair.join(": ")).join(", ")} } = tidegate;${lines}`;
  });
  // As long as it was, so that columns stay, too.
  const text = imported.replace(EXPORT, "      ");
  const left = NOT_HERE.exec(text);
  if (left) {
    const message = "a script imports from \"tidegate\" alone, and exports functions and constants by their names; `tidegate function build` takes libraries";
    throw refused(text, left.index, message);
  }
  return text;
}

/** The functions of a script. Line 1 of it is line 2 of what is evaluated, which `frames` of the SDK knows. */
export function evaluated(script, sdk) {
  const names = Object.keys(sdk).join(", ");
  const found = ["transform", "configure"].map((name) => `${name}: typeof ${name} === "function" ? ${name} : undefined`).join(", ");
  // In a function of its own, so that a script may give a name of the SDK another meaning.
  const head = `(function (tidegate) { "use strict"; const { ${names} } = tidegate; return (function () {`;
  const plugin = evaluate(`${head}\n${rewritten(script, sdk)}\nreturn { ${found} };\n})(); })`)(sdk);
  if (plugin.transform === undefined) {
    throw new PluginError("script", "the script has no function transform; write: export function transform(event) { ... }", "invalid-config");
  }
  return plugin;
}
