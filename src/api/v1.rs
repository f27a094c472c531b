//! `/api/v1`: the catalog over HTTP.
//!
//! Every path has a rule in [`rules`], which [`permit()`] asks before its handler sees the request; one without a rule is answered to
//! nobody. Who holds the admin token may do everything. For everybody else the catalog is asked: before the handler, and for
//! changes once more within their transaction. What may not be viewed is not there.

mod activity;
mod alerts;
mod apply;
mod asker;
mod audit;
mod blobs;
mod changes;
mod conservation;
mod contract_traffic;
mod contract_violations;
mod contracts;
mod destination_kinds;
mod device;
mod drafts;
mod event_rights;
mod folders;
mod login;
mod newcomers;
mod noted;
mod objects;
mod ordered;
mod owned_jobs;
mod passwords;
mod pauses;
mod permit;
mod plans;
mod privacy;
mod promotions;
mod providers;
mod quarantine;
mod queries;
mod refused;
mod rebuilds;
mod replays;
mod roles;
mod rules;
mod running;
mod secrets;
mod shown;
mod streams;
mod taps;
mod tokens;
mod traces;
mod tries;
mod visitor;
mod write_keys;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::SharedApi;

pub(super) use activity::RecentActivities;
pub(super) use asker::{AskedFrom, Requester};
pub(super) use permit::permit;
#[cfg(test)]
pub(super) use rules::rules;
pub(super) use rules::{is_open, rule};
pub(super) use visitor::{ShownSession, cross_site, session_of};

/// Its paths with their handlers.
pub(super) fn routes() -> OpenApiRouter<Arc<SharedApi>> {
    OpenApiRouter::new()
        .routes(routes!(objects::who_am_i))
        .routes(routes!(login::ways, login::sign_in))
        .routes(routes!(login::sign_out))
        .routes(routes!(providers::start))
        .routes(routes!(providers::finish))
        .routes(routes!(device::start))
        .routes(routes!(device::poll))
        .routes(routes!(passwords::set))
        .routes(routes!(objects::list, changes::create))
        .routes(routes!(objects::show, changes::update, changes::delete))
        .routes(routes!(objects::history))
        .routes(routes!(objects::diff))
        .routes(routes!(objects::used_by))
        .routes(routes!(changes::release))
        .routes(routes!(changes::adopt))
        .routes(routes!(pauses::pause))
        .routes(routes!(pauses::resume))
        .routes(routes!(tries::try_out))
        .routes(routes!(queries::tables, queries::query))
        .routes(routes!(roles::list))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::write))
        .routes(routes!(write_keys::list, write_keys::create))
        .routes(routes!(write_keys::revoke))
        .routes(routes!(write_keys::rotate))
        .routes(routes!(streams::show))
        .routes(routes!(streams::seek))
        .routes(routes!(traces::trace))
        .routes(routes!(taps::listen))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::count))
        .routes(routes!(quarantine::export))
        .routes(routes!(quarantine::attempt))
        .routes(routes!(quarantine::retry::retry))
        .routes(routes!(quarantine::retry::purge))
        .routes(routes!(quarantine::retry::jobs))
        .routes(routes!(quarantine::retry::job))
        .routes(routes!(quarantine::retry::cancel))
        .routes(routes!(quarantine::show))
        .routes(routes!(quarantine::retry::edit))
        .routes(routes!(privacy::suppressed))
        .routes(routes!(privacy::suppress))
        .routes(routes!(privacy::unsuppress))
        .routes(routes!(privacy::consent::consent))
        .routes(routes!(privacy::forget))
        .routes(routes!(privacy::verify::verify))
        .routes(routes!(privacy::jobs))
        .routes(routes!(privacy::job))
        .routes(routes!(replays::list, replays::create))
        .routes(routes!(replays::show))
        .routes(routes!(replays::cancel))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::history))
        .routes(routes!(alerts::test))
        .routes(routes!(alerts::mute))
        .routes(routes!(alerts::unmute))
        .routes(routes!(rebuilds::create))
        .routes(routes!(rebuilds::swap))
        .routes(routes!(rebuilds::list))
        .routes(routes!(rebuilds::show))
        .routes(routes!(rebuilds::cancel))
        .routes(routes!(plans::make))
        .routes(routes!(apply::apply))
        .routes(routes!(promotions::promote))
        .routes(routes!(running::show))
        .routes(routes!(blobs::show, blobs::store))
        .routes(routes!(drafts::list, drafts::propose))
        .routes(routes!(drafts::show))
        .routes(routes!(drafts::approve))
        .routes(routes!(drafts::close))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        .routes(routes!(conservation::show))
        .routes(routes!(activity::show))
        .routes(routes!(contract_traffic::show, contract_traffic::compare))
        .routes(routes!(contract_violations::show))
        .routes(routes!(destination_kinds::list))
        .routes(routes!(contracts::list_domains, contracts::create_domain))
        .routes(routes!(contracts::show_domain, contracts::change_domain))
        .routes(routes!(contracts::list_contracts, contracts::create_contract))
        .routes(routes!(contracts::show_contract, contracts::change_contract))
}
