//! What a guest planned, read with suspicion.

use tidegate_net::outbound::Method;
use tidegate_plugin as plugin;
use tidegate_wasm as wasm;

use super::body;

const REQUESTS_MAX: usize = 200;
const BODY_BYTES_MAX: usize = 16 << 20;

/// Why a plan cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadPlan {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

/// Every event of the batch in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlanPlace {
    Nowhere,
    Requests,
    Aside,
}

/// Checks that each event of a batch of `events` is in one place: carried by requests, or skipped, or failed. Several
/// requests may carry the same event; then all of them must succeed.
pub(super) fn check(plan: &wasm::GuestPlan, events: usize) -> Result<(), BadPlan> {
    let bad = |reason: String| BadPlan { code: "bad-plan", reason };
    if plan.requests.len() > REQUESTS_MAX {
        let reason = format!("a plan of {} requests; at most {REQUESTS_MAX} are allowed", plan.requests.len());
        return Err(BadPlan { code: "plan-too-large", reason });
    }
    let bytes: usize = plan.requests.iter().map(|request| request.body.len()).sum();
    if bytes > BODY_BYTES_MAX {
        let reason = format!("a plan with bodies of {bytes} bytes; at most {BODY_BYTES_MAX} are allowed");
        return Err(BadPlan { code: "plan-too-large", reason });
    }
    let mut places = vec![PlanPlace::Nowhere; events];
    let mut put = |event: u32, place: PlanPlace| {
        let outside = || bad(format!("the plan names event {event}; the batch has {events}"));
        let slot = usize::try_from(event).ok().and_then(|event| places.get_mut(event)).ok_or_else(outside)?;
        if *slot != PlanPlace::Nowhere && (*slot, place) != (PlanPlace::Requests, PlanPlace::Requests) {
            return Err(bad(format!("the plan has event {event} in two places: skipped, failed, or in requests")));
        }
        *slot = place;
        Ok(())
    };
    for request in &plan.requests {
        if request.events.is_empty() {
            return Err(bad(format!("a request carries no event; name the events in `events` ({})", request.tag)));
        }
        request.events.iter().try_for_each(|event| put(*event, PlanPlace::Requests))?;
        // One event is to blame as a rule, and the batch is halved until it stands alone.
        if let Some(reason) = body::problem(request) {
            return Err(BadPlan { code: "body-not-json", reason });
        }
    }
    plan.skipped.iter().try_for_each(|(event, _)| put(*event, PlanPlace::Aside))?;
    plan.failed.iter().try_for_each(|(event, _)| put(*event, PlanPlace::Aside))?;
    match places.iter().position(|place| *place == PlanPlace::Nowhere) {
        Some(event) => Err(bad(format!("the plan forgets event {event}: no request carries it and it is not skipped"))),
        None => Ok(()),
    }
}

pub(super) const fn method(method: plugin::SigningMethod) -> Method {
    match method {
        plugin::SigningMethod::Get => Method::GET,
        plugin::SigningMethod::Post => Method::POST,
        plugin::SigningMethod::Put => Method::PUT,
        plugin::SigningMethod::Patch => Method::PATCH,
        plugin::SigningMethod::Delete => Method::DELETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(requests: &[&[u32]], skipped: &[u32]) -> wasm::GuestPlan {
        let request = |events: &&[u32]| wasm::GuestRequest {
            method: plugin::SigningMethod::Post,
            url: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            events: events.to_vec(),
            tag: String::new(),
        };
        wasm::GuestPlan {
            requests: requests.iter().map(request).collect(),
            skipped: skipped.iter().map(|event| (*event, String::new())).collect(),
            failed: Vec::new(),
        }
    }

    #[test]
    fn each_event_has_one_place() {
        assert_eq!(check(&plan(&[&[0, 1], &[1, 2]], &[3]), 4), Ok(()));
        assert_eq!(check(&plan(&[], &[]), 0), Ok(()));
        for (requests, skipped, part) in [
            (vec![[0_u32, 1].as_slice()], vec![1_u32], "two places"),
            (vec![&[0, 1]], vec![2, 2], "two places"),
            (vec![&[0, 4]], vec![1, 2], "names event 4"),
            (vec![&[0, u32::MAX]], vec![1, 2], "names event 4294967295"),
            (vec![&[0, 1]], vec![], "forgets event 2"),
            (vec![&[0, 1, 2], &[]], vec![], "carries no event"),
        ] {
            let bad = check(&plan(&requests, &skipped), 3).unwrap_err();
            assert!(bad.reason.contains(part), "{part}: {}", bad.reason);
        }
        let many = vec![[0].as_slice(); 201];
        assert_eq!(check(&plan(&many, &[]), 1).unwrap_err().code, "plan-too-large");
    }
}
