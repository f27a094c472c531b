import { lookup, path, type Edit, type Json } from "tidegate";

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

const ip = path("/context/ip");
const location = path("/context/location");

export const transform: Edit<Settings> = (event, { settings }) => {
  const address = event.getString(ip);
  if (address === null) return;
  // What the event says itself, from a GPS perhaps, is better than what its address tells.
  if (!event.has(location)) {
    const place = described(lookup("geo", address) as City | null, settings);
    if (Object.keys(place).length > 0) event.set(location, place);
  }
  if (settings.remove_ip) event.remove(ip);
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
