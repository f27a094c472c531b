export async function transformEvent(event, metadata) {
  const meta = metadata(event);
  log("seen", event.messageId);
  if (event.event === "Internal Ping") return null;
  if (event.type === "identify") {
    return [event, { ...event, type: "track", event: "Plan Set", messageId: `${event.messageId}-plan` }];
  }
  await enrich(event);
  event.sourceId = meta.sourceId;
  event.seen = meta.messageId;
  return event;
}

async function enrich(event) {
  event.context = { ...event.context, enriched: true };
}
