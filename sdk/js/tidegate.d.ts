/** What a plugin imports as "tidegate". There is no DOM, no Node.js, no timer and no network. */
declare module "tidegate" {
  export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
  /** What anybody may have put anything into. */
  export type Fields = Record<string, any>;
  export interface Event {
    type: "track" | "identify" | "page" | "screen" | "group" | "alias";
    messageId: string;
    event?: string;
    name?: string;
    userId?: string;
    anonymousId?: string;
    timestamp?: string;
    properties?: Record<string, any>;
    traits?: Record<string, any>;
    context?: Record<string, any>;
    [name: string]: any;
  }
  export interface Context<Settings = any> {
    readonly settings: Settings;
    /** Unix milliseconds of the batch, the same on replay. */
    readonly now: number;
    readonly seed: number;
  }
  export type Outcome = { readonly tag: string };
  export type Transform<Settings = any> = (event: Event, context: Context<Settings>) => Event | Event[] | Outcome | null;
  /** Leaves the event as it is: nothing is copied back. */
  export const keep: Outcome;
  /** Filters the event on purpose. */
  export function drop(reason: string): Outcome;
  /** Puts this one event into quarantine. */
  export function fail(code: string, message: string): Outcome;
  /** Throw it in `configure` to refuse settings, or anywhere to fail one event with a code of your own. */
  export class PluginError extends Error {
    readonly code: string;
    constructor(code: string, message: string);
  }
  /** Throw it to have the whole batch tried again later. */
  export class RetryBatch extends Error {
    constructor(message: string, afterMs?: number);
  }
  export const log: Record<"debug" | "info" | "warn" | "error", (...parts: unknown[]) => void>;
  export function count(name: string, delta?: number): void;
  export function now(): number;
  export function seed(): number;
  /** The entry for `key` in a table that the manifest names under `lookups`; null when there is none. */
  export function lookup(table: string, key: string): Json;
  /** UTF-8 bytes of `text`. */
  export function encode(text: string): Uint8Array;
  /** The text of UTF-8 `bytes`; what is no UTF-8 is read as Latin-1. */
  export function decode(bytes: Uint8Array): string;
  /** JSON of `value`; NaN and Infinity are an error that says where they stand. */
  export function toJson(value: unknown): string;

  // What an event says. Clients send what they like: each reader gives undefined for anything odd.

  /** An object as it is; an empty one for anything else, such as the `[]` that PHP writes for an empty object. */
  export function asObject(value: unknown): Fields;
  /** An array as it is; an empty one for anything else. */
  export function asList(value: unknown): any[];
  /** An id as text: text that is not blank as it is, a number by its digits, undefined for anything else. */
  export function idText(value: unknown): string | undefined;
  /**
   * The id of somebody as text; undefined where `idText` gives none, and for what code writes for nobody, such as "undefined",
   * "[object Object]", 0 or "Guest", in any case and also in quotes. A tool would make one person of all who have such an id.
   */
  export function somebody(value: unknown): string | undefined;
  export function userId(event: Event): string | undefined;
  export function anonymousId(event: Event): string | undefined;
  export function groupId(event: Event): string | undefined;
  export function previousId(event: Event): string | undefined;
  export function messageId(event: Event): string | undefined;
  /** By what a tool knows somebody: the user id, else the anonymous id, else undefined. */
  export function user(event: Event): string | undefined;
  /** The `event` of a track, the `name` of a page or screen; undefined for all else and for blank ones. */
  export function name(event: Event): string | undefined;
  /** What stands in `context` at a path such as "page.url"; undefined when nothing does, and for null and blank text. */
  export function context(event: Event, path: string): any;
  /** The text in `context` at a path, a number by its digits; undefined for anything else. */
  export function contextText(event: Event, path: string): string | undefined;
  /** `context.traits`, and over them the `traits` of the event itself. A new object: it may be changed. */
  export function traits(event: Event): Fields;
  /** `properties`; empty when they are no object. */
  export function properties(event: Event): Fields;
  /** A point in time: Unix milliseconds and seconds, rounded down, and RFC 3339 text in UTC with milliseconds. */
  export interface Instant {
    readonly ms: number;
    readonly seconds: number;
    readonly text: string;
  }
  /** When the event happened, by its `timestamp`; undefined when that cannot be read. */
  export function time(event: Event): Instant | undefined;
  /** The instant that RFC 3339 text names, whatever its fraction and offset; undefined for anything else. */
  export function instant(value: unknown): Instant | undefined;
  /** The instant so many milliseconds after 1970; undefined before the year 0 and after 9999. */
  export function fromMs(ms: number): Instant | undefined;

  /**
   * The instant of a trait such as `createdAt`: RFC 3339, in UTC where it has no offset and midnight where it has no time of day,
   * or seconds or milliseconds since 1970, also as text.
   */
  export function moment(value: unknown): Instant | undefined;
  /**
   * What `integrations` of an event has for a tool that is known by any of `names`: its options, of every spelling under which
   * there are some, those of the first name first.
   */
  export function integrationOptions(event: Event, ...names: string[]): Fields[];
  /** The name of a tool as it compares: "Actions Amplitude" and "amplitude" have the same. */
  export function spelling(name: string): string;
  /**
   * `fields` in which those that `isTaken` says are under `prefix` and their name, so that none is lost; `onRenamed` is told of
   * each.
   */
  export function renamed(
    fields: Fields, prefix: string, isTaken: (name: string) => boolean, onRenamed?: (name: string, to: string) => void,
  ): Fields;

  // Money and line items, as the e-commerce specifications of Segment and RudderStack have them.

  /** A finite number, also one written as text such as " 19.99 "; undefined for anything else, "19,99" included. */
  export function number(value: unknown): number | undefined;
  /** Three letters in upper case; undefined for anything else. */
  export function currency(value: unknown): string | undefined;
  /** No currency is ever assumed. */
  export interface Money {
    readonly amount: number;
    readonly currency?: string;
  }
  /** The first of the properties `names` that is an amount, with the `currency` beside it; undefined when none is. */
  export function money(properties: Fields, ...names: string[]): Money | undefined;
  /** `revenue`, else `value`, else `subtotal`, else `itemsTotal`, else `total`, which holds tax and shipping. */
  export function revenue(properties: Fields): Money | undefined;
  /** The sum of price x quantity of the line items that have a price; undefined when none has. */
  export function itemsTotal(properties: Fields): Money | undefined;
  export interface Item {
    productId?: string;
    sku?: string;
    name?: string;
    brand?: string;
    category?: string;
    variant?: string;
    price?: number;
    /** 1 when the product does not say. */
    quantity: number;
    coupon?: string;
    position?: number;
    url?: string;
    imageUrl?: string;
    currency?: string;
    /** The product as it came. */
    source: Fields;
  }
  /** The line items of `products`, else the one product in the properties; and how many entries were no objects. */
  export function items(properties: Fields): { items: Item[]; leftOut: number };
  /** One product as a line item. */
  export function item(product: Fields): Item;

  // People.

  /** A phone number as E.164, such as "+15550100200"; undefined when it names no country: none is ever assumed. */
  export function phone(value: unknown): string | undefined;
  /** An email address without the white space around it; undefined for anything that is none. */
  export function email(value: unknown): string | undefined;
  export type HashKind = "email" | "phone" | "name" | "city" | "state" | "zip" | "country" | "gender" | "dob" | "id";
  /** SHA-256 in lower hexadecimal of the normal spelling; what is a hash already stays. Undefined for what is none of its kind. */
  export function hashed(value: unknown, kind: HashKind): string | undefined;
  /** SHA-256 of the UTF-8 of `text`, in lower hexadecimal. */
  export function sha256(text: string): string;

  /** kind: fields. Make paths once, at the top of the file. */
  export class Path {
    readonly pointer: string;
  }
  export function path(pointer: string): Path;
  export interface FieldsOfEvent {
    getString(at: Path): string | null;
    getNumber(at: Path): number | null;
    getJson(at: Path): Json | undefined;
    has(at: Path): boolean;
    set(at: Path, value: Json): void;
    /** Moves whatever is there, without a copy; says whether anything was. */
    move(at: Path, to: Path): boolean;
    remove(at: Path): void;
  }
  export type Edit<Settings = any> = (event: FieldsOfEvent, context: Context<Settings>) => Outcome | void;

  /** kind: destination. */
  export interface Request {
    method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
    url: string;
    headers?: Record<string, string>;
    /** Text, bytes, or anything that becomes JSON. */
    body?: unknown;
    /** Which events of the batch it carries. */
    events: number[];
    /** Handed back to `classify`. */
    tag?: string;
  }
  export interface Plan {
    requests: Request[];
    skipped?: { event: number; reason: string }[];
    failed?: { event: number; code: string; message: string }[];
  }
  export interface Response {
    status: number;
    attempt: number;
    /** When it came, in Unix milliseconds. */
    nowMs: number;
    /** Names in lower case. */
    headers: Record<string, string | undefined>;
    body: Uint8Array;
    text: string;
    json(): any;
  }
  export interface Answer {
    tag: string;
    events: number[];
    response: Response;
  }
  export type Verdict =
    | "delivered"
    | "retry"
    | "reauthenticate"
    | { retry: number | null }
    | { rejected: { code: string; message: string } }
    | { partial: [event: number, retry: boolean][] }
    | { disable: { code: string; message: string } }
    | { bisect: { code: string; message: string } };
  export type Prepare<Settings = any> = (events: Event[], context: Context<Settings>) => Plan;
  /** What it throws is a rejection: the events go to quarantine with the answer. `RetryBatch` asks for another try. */
  export type Classify<Settings = any> = (answer: Answer, context: Context<Settings>) => Verdict;
  /**
   * 2xx delivered; 401 sign in again; 408, 423, 425, 429 and 5xx later; a 404 that is no JSON comes from a proxy and is tried
   * later; anything else refuses the request (see `bisect`).
   */
  export function classifyByStatus(answer: Answer): Verdict;
  /** The same for a tool that knows its caller by a key: 401, and 403 in JSON, stop the destination. */
  export function classifyByKey(answer: Answer): Verdict;
  /**
   * With `forget: true` in plugin.yaml: requests that have the tool delete people. Each is one id in the shape of an event:
   * `{ type: "forget", userId }`, or with `anonymousId`, `groupId` or `traits`. Export it as `forget`.
   */
  export type Forget<Settings = any> = Prepare<Settings>;
  /** What a plugin without `classifyForget` reads answers to deletions with: a 404 in JSON says that nobody is there. */
  export function classifyDeletion(answer: Answer): Verdict;
  /** Another try, not before so many milliseconds; without them the host pauses as it sees fit. */
  export function retry(ms?: number): Verdict;
  /** All events of the request go to quarantine. */
  export function rejected(code: string, message: string): Verdict;
  /** Stops the destination and tells its owner. */
  export function disable(code: string, message: string): Verdict;
  /** Pairs of an event and whether to try it again (else it is rejected); all others of the request were delivered. */
  export function partial(pairs: [event: number, retry: boolean][]): Verdict;
  /**
   * The tool refused a whole request, took nothing of it and names nobody. The host sends the events again in halves, at once;
   * an event that is refused alone goes to quarantine with this code.
   */
  export function bisect(code: string, message: string): Verdict;
  /** Milliseconds that `Retry-After` asks to wait, as seconds or as a date; undefined when it says nothing readable. */
  export function retryAfterMs(response: Pick<Response, "headers" | "nowMs">): number | undefined;
  /** The body as a JSON object; undefined when it is none. */
  export function answerOf(response: Pick<Response, "text">): any;

  /** Throw it in `record`: the event does not apply here and is left out; the message is the reason. */
  export class Skip extends Error {}
  /** A track by its own name, other types as `others` says; a track without a name fails, a type that `others` lacks is skipped. */
  export function eventName(event: Event, others?: Record<string, string>): string;
  /**
   * The properties `own` of an event with, over them, `said`: what the plugin says under names that mean something to the tool.
   * Where it says undefined, the event's own stays. Where both say something else, and where `isTaken` says that the tool must
   * not read a name from the event, the event's own goes along as `own_<name>`, and the log says so.
   */
  export function beside(own: Fields, said: Fields, isTaken?: (name: string) => boolean): Fields;
  /** Logs a warning once in a batch, however many events it is about. It holds no value of an event. */
  export function warnOnce(message: string): void;
  /** What `record` made of an event, and where the event stands in the batch. */
  export interface Entry<Record> {
    event: number;
    value: Record;
    json: string;
  }
  export interface Failures {
    failed: { event: number; code: string; message: string }[];
  }
  export interface Destination<Settings, Record> {
    configure?(settings: Settings): void;
    /** The tool's record of one event. It throws Skip or PluginError; whatever else it throws costs that one event too. */
    record(event: Event): Record;
    /** Records into requests; the content type is JSON unless a request says otherwise. */
    requests(entries: Entry<Record>[], plan: Failures): Request[];
    classify?(answer: Answer): Verdict;
  }
  /** What a destination exports: `export const { configure, prepare, classify } = destination({...})`. */
  export function destination<Settings, Record>(
    plugin: Destination<Settings, Record>,
  ): { configure(settings: Settings): void; prepare(events: Event[]): Required<Plan>; classify(answer: Answer): Verdict };
  /**
   * Runs of at most `count` entries and `bytes` bytes of JSON with commas. One entry larger than that, or than `record` bytes,
   * fails as `too-large` in `plan`. `weigh` says for how many an entry counts; without it each is one.
   */
  export function chunks<Record>(
    entries: Entry<Record>[],
    limits: { count: number; bytes: number; record?: number; weigh?: (entry: Entry<Record>) => number },
    plan: Failures,
  ): Entry<Record>[][];
  /** The events that the entries of a chunk stand for. */
  export function eventsOf(chunk: Entry<unknown>[]): number[];
  /** The entries of a chunk as a JSON array. */
  export function jsonArray(chunk: Entry<unknown>[]): string;
  /** How many bytes `text` has in UTF-8. */
  export function byteLength(text: string): number;
  export function sign(algorithm: "sha1" | "sha256" | "sha512", secret: string | Uint8Array, data: string | Uint8Array): Uint8Array;
}
