// The tokens of a script, one after the other. What looks like a word and stands in a string, a template, a comment or a regular expression is none.

const SPACE = /\s+/y;
const COMMENT_LINE = /\/\/[^\n\r\u2028\u2029]*/y;
const WORD = /#?(?:[\w$]|\\u(?:[\da-fA-F]{4}|\{[\da-fA-F]+\})|[^\x00-\x7f\s])+/y;
const NUMBER = /\.?\d[\w.]*/y;
const MARK = /=>|\?\.(?!\d)|\?\?|\+\+|--|\.\.\.|[^]/y;
const STRING_STOP = /["'`$\\\n\r]/g;
const REGEX_STOP = /[/\\[\]\n\r\u2028\u2029]/g;
const NEWLINE = /[\n\r\u2028\u2029]/;

/** Behind these a value begins, so `/` begins a regular expression, and `{` an object. */
const BEFORE_VALUE = new Set(["return", "typeof", "instanceof", "in", "new", "delete", "void", "throw", "case", "yield", "await", "default", "extends", "const", "let", "var"]);
/** Behind these a statement begins. */
const BEFORE_STATEMENT = new Set(["else", "do", "try", "finally"]);
/** What stands in parentheses behind these is no value. */
const BEFORE_CONDITION = new Set(["if", "while", "for", "with"]);
/** In an object or a class, the name of a member comes behind these; behind the others where they begin a member themselves. */
const BEFORE_NAME = new Set(["{", ",", ";"]);
const IN_FRONT_OF_NAME = new Set(["*", "get", "set", "async", "static"]);

/** What is open around a token: a bracket, and what it means. */
const frame = (open, more) => ({ open, ternaries: 0, body: null, ...more });

export class ScriptTokens {
  #text;
  #at = 0;
  /** Those that are open, outermost first. The first one is the script. */
  #frames = [frame("")];
  #last = null;
  /** Whether a value ends with the last token. */
  #value = false;
  /** Whether a statement may begin behind the last token. */
  #fresh = true;
  #newline = false;
  #held = null;
  /** Where and why the rest cannot be read; null where it can. */
  broken = null;

  constructor(text) {
    this.#text = text;
  }

  /**
   * The next token; null at the end. `begins` says that a statement begins with it, `inner` that it stands in something, and `named` that it is the name of
   * a property, whatever word it is.
   */
  next() {
    const token = this.#held ?? this.#scanned();
    this.#held = null;
    return token;
  }

  /** The one that comes next, which stays. */
  peek() {
    this.#held ??= this.#scanned();
    return this.#held;
  }

  #scanned() {
    if (!this.#skipped() || this.#at >= this.#text.length) return null;
    const [text, at, top] = [this.#text, this.#at, this.#frames.at(-1)];
    const char = text[at];
    const last = this.#last;
    const token = {
      kind: "mark", text: char, at, end: at, newline: this.#newline, inner: this.#frames.length > 1,
      begins: this.#fresh || (this.#newline && this.#value), named: false, declares: false,
    };
    this.#last = token;
    if (char === "\"" || char === "'") {
      if (!this.#quoted(token, char)) return null;
    } else if (char === "`") {
      this.#at += 1;
      if (!this.#template(token)) return null;
    } else if (this.#take(NUMBER)) {
      token.kind = "number";
      [this.#value, this.#fresh] = [true, false];
    } else if (this.#take(WORD)) {
      this.#word(token, last, top);
    } else if (char === "/" && !this.#value) {
      if (!this.#regex(token)) return null;
    } else if (char === "}" && top.open === "${") {
      this.#frames.pop();
      this.#at += 1;
      if (!this.#template(token)) return null;
    } else {
      this.#take(MARK);
      token.text = text.slice(at, this.#at);
      this.#mark(token, last, top);
    }
    token.end = this.#at;
    if (token.kind !== "word") token.text = text.slice(at, token.end);
    return token;
  }

  /** Goes on over spaces and comments. Whether a comment has an end. */
  #skipped() {
    this.#newline = false;
    for (;;) {
      const from = this.#at;
      if (this.#text.startsWith("/*", from)) {
        const end = this.#text.indexOf("*/", from + 2);
        if (end < 0) return this.#breaks(from, "the comment that begins here has no end; write */ behind it");
        this.#at = end + 2;
      } else if (!this.#take(SPACE) && !this.#take(COMMENT_LINE)) {
        // Outside of modules JavaScript has these as comments.
        const isComment = this.#text.startsWith("<!--", from) || (this.#text.startsWith("-->", from) && (this.#newline || this.#last === null));
        return !isComment || this.#breaks(from, "a comment of HTML is none of JavaScript; write // or /* */");
      }
      this.#newline ||= NEWLINE.test(this.#text.slice(from, this.#at));
    }
  }

  #take(pattern) {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  #breaks(at, reason) {
    this.broken = { at, reason };
    this.#at = this.#text.length;
    return false;
  }

  /** The next place at which `pattern` matches; behind it when that is a backslash, and what it stands before. */
  #stop(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return null;
    const escapes = found[0] === "\\";
    this.#at = found.index + (escapes ? (this.#text.startsWith("\r\n", found.index + 1) ? 3 : 2) : 1);
    return escapes ? "" : found[0];
  }

  #quoted(token, quote) {
    this.#at += 1;
    for (;;) {
      const found = this.#stop(STRING_STOP);
      if (found === quote) break;
      if (found === null || found === "\n" || found === "\r") {
        return this.#breaks(token.at, "the string that begins here has no end on its line; templates, in backticks, have several lines");
      }
    }
    token.kind = "string";
    [this.#value, this.#fresh] = [true, false];
    return true;
  }

  /** Up to the end of a template, or to a value in it. */
  #template(token) {
    token.kind = "template";
    for (;;) {
      const found = this.#stop(STRING_STOP);
      if (found === "`") break;
      if (found === null) return this.#breaks(token.at, "the template that begins or goes on here has no end; write ` behind it");
      if (found === "$" && this.#text[this.#at] === "{") {
        this.#at += 1;
        this.#frames.push(frame("${"));
        [this.#value, this.#fresh] = [false, false];
        return true;
      }
    }
    [this.#value, this.#fresh] = [true, false];
    return true;
  }

  #regex(token) {
    this.#at += 1;
    for (let inClass = false; ;) {
      const found = this.#stop(REGEX_STOP);
      if (found === "/" && !inClass) break;
      // The interpreter knows better what is wrong with it.
      if (found === null || NEWLINE.test(found)) {
        this.#at = this.#text.length;
        return false;
      }
      if (found === "[" || found === "]") inClass = found === "[";
    }
    this.#take(WORD);
    token.kind = "regex";
    [this.#value, this.#fresh] = [true, false];
    return true;
  }

  #word(token, last, top) {
    const word = this.#text.slice(token.at, this.#at);
    [token.kind, token.text] = ["word", word];
    token.named = last !== null && (last.text === "." || last.text === "?." || (top.members === true && this.#beginsMember(last, token)));
    if (token.named) {
      [this.#value, this.#fresh] = [true, false];
      return;
    }
    token.declares = token.begins || (last?.declares === true && ["export", "default", "async"].includes(last.text));
    if (word === "function" || word === "class") top.body = { word, isValue: !token.declares };
    // `for await (`
    if (word === "await" && last?.text === "for") token.text = "for";
    const isOf = word === "of" && top.condition === true;
    [this.#value, this.#fresh] = [!BEFORE_VALUE.has(word) && !BEFORE_STATEMENT.has(word) && !isOf, BEFORE_STATEMENT.has(word)];
  }

  #beginsMember(last, token) {
    if (BEFORE_NAME.has(last.text) || (last.named && IN_FRONT_OF_NAME.has(last.text)) || (last.text === "}" && !this.#value)) return true;
    return token.newline && this.#value && token.text !== "in" && token.text !== "instanceof";
  }

  #mark(token, last, top) {
    const mark = token.text;
    if (mark === "*" && top.members === true) token.named = this.#beginsMember(last, { newline: false });
    const [wasValue, isFresh] = [this.#value, token.begins];
    [this.#value, this.#fresh] = [false, false];
    if (mark === "(" || mark === "[") {
      const isCondition = mark === "(" && last?.kind === "word" && !last.named && BEFORE_CONDITION.has(last.text);
      this.#frames.push(frame(mark, { condition: isCondition }));
    } else if (mark === "{") {
      const { body } = top;
      top.body = null;
      // A body of a function, a block, or an object.
      const isValue = body ? body.isValue : !isFresh && !wasValue && last?.text !== "=>";
      const members = body ? body.word === "class" : isValue;
      this.#frames.push(frame(mark, { isValue, members }));
      this.#fresh = !members;
    } else if (mark === ")" || mark === "]" || mark === "}") {
      const closed = this.#frames.length > 1 ? this.#frames.pop() : top;
      [this.#value, this.#fresh] = [!closed.condition, closed.condition === true];
      if (mark === "}") [this.#value, this.#fresh] = [closed.isValue === true, closed.isValue !== true];
    } else if (mark === "++" || mark === "--") {
      this.#value = wasValue;
    } else if (mark === "?") {
      top.ternaries += 1;
    } else if (mark === ":" && top.ternaries > 0) {
      top.ternaries -= 1;
    } else if (mark === ";" || mark === ":") {
      [top.body, top.ternaries] = [null, 0];
      this.#fresh = mark === ";" || (top.members !== true && (top.open === "{" || top.open === ""));
    }
  }
}
