import { keep, lookup, type Json, type Transform } from "tidegate";

interface Settings {
  language?: string;
  coordinates?: boolean;
  remove_ip?: boolean;
}

/** What is used of a record of GeoLite2 or GeoIP2 City; https://dev.maxmind.com/geoip/docs/databases/city-and-country */
interface City {
  city?: Named;
  continent?: { code?: string };
  country?: Named & { iso_code?: string };
  location?: { latitude?: number; longitude?: number; time_zone?: string };
  postal?: { code?: string };
  subdivisions?: (Named & { iso_code?: string })[];
}

interface Named {
  names?: Record<string, string>;
}

export const transform: Transform<Settings> = (event, { settings }) => {
  const { context } = event;
  if (typeof context?.ip !== "string") return keep;
  // What the event says itself, from a GPS perhaps, is better than what its address tells.
  const place = context.location === undefined ? described(lookup("geo", context.ip) as City | null, settings) : {};
  const found = Object.keys(place).length > 0;
  if (found) context.location = place;
  if (settings.remove_ip) delete context.ip;
  return found || settings.remove_ip ? event : keep;
};

function described(record: City | null, { language = "en", coordinates = true }: Settings): Record<string, Json> {
  const name = (of?: Named) => of?.names?.[language] ?? of?.names?.en;
  const region = record?.subdivisions?.[0];
  const place = {
    city: name(record?.city),
    region: name(region),
    region_code: region?.iso_code,
    country: name(record?.country),
    country_code: record?.country?.iso_code,
    continent_code: record?.continent?.code,
    postal_code: record?.postal?.code,
    time_zone: record?.location?.time_zone,
    latitude: coordinates ? record?.location?.latitude : undefined,
    longitude: coordinates ? record?.location?.longitude : undefined,
  };
  const known = Object.entries(place).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  return Object.fromEntries(known);
}
