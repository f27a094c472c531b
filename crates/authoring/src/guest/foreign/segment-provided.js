// What Segment provides to a function.
for (const name of ["DropEvent", "EventNotSupported", "InvalidEventPayload", "ValidationError", "RetryError"]) {
  globalThis[name] = class extends Error {
    constructor(message) {
      super(message);
      this.name = name;
    }
  };
}
