import { drop, lookup,            } from "tidegate";
;                                                

/** What is set. */
;                   
                  
 

const staff                      = new Set(["a@example.com"]);

;                                  

export function transform(event       , { settings }                   )                  {
  const email = event.properties?.email                      ;
  if (email && (staff.has(email) || email.endsWith(`@${settings.domain ?? "example.com"}`))) return drop("staff");
  const found = lookup("plans", event.userId )                         ;
  event.properties = { ...event.properties, plan: found?.plan ?? ("free"               ) };
  return event;
}
