// An insert function: it stands between a source and a destination.
async function onTrack(event, settings) {
  if (event.event.startsWith("Internal")) {
    throw new DropEvent("internal events stay here");
  }
  event.properties = { ...event.properties, currency: settings.currency };
  return event;
}

async function onIdentify(event, settings) {
  if (!event.traits.email) {
    throw new ValidationError("an identify call needs an email");
  }
  return event;
}

async function onPage(event, settings) {
  throw new EventNotSupported("page is not supported");
}
