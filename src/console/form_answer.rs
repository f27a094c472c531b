//! What a form was answered, for the page that shows it again.

use hyper::StatusCode;
use maud::{Markup, html};
use tidegate_api_types::ProblemDetails;
use tidegate_api_types::tried::ObjectTried;

use super::ask::PageRefusal;
use super::form_fields::WrongField;
use super::layout::problem;
use super::tried::tried;

/// What is wrong with a form, or what came of a try.
#[derive(Default)]
pub(super) struct FormAnswer {
    /// Said beside the fields.
    pub(super) wrong: Vec<WrongField>,
    /// What the API says against it.
    pub(super) found: Option<Box<ProblemDetails>>,
    pub(super) tried: Option<ObjectTried>,
}

impl FormAnswer {
    pub(super) fn of_wrong(wrong: Vec<WrongField>) -> Self {
        Self { wrong, ..Self::default() }
    }

    /// What was answered to a form: none where it has done what it says.
    ///
    /// # Errors
    /// What is no matter of the form.
    pub(super) fn of(done: Result<Option<ObjectTried>, PageRefusal>) -> Result<Option<Self>, PageRefusal> {
        match done {
            Ok(None) => Ok(None),
            Ok(tried) => Ok(Some(Self { tried, ..Self::default() })),
            Err(refusal) => {
                let found = Some(refusal.into_problem()?);
                Ok(Some(Self { found, ..Self::default() }))
            }
        }
    }

    /// The status of the page that shows it.
    pub(super) fn status(&self) -> StatusCode {
        match &self.found {
            Some(found) => StatusCode::from_u16(found.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
            None if self.wrong.is_empty() => StatusCode::OK,
            None => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// What stands above the form.
    pub(super) fn above(&self) -> Markup {
        html! {
            @if !self.wrong.is_empty() { div.problem role="alert" { p { "Nothing was saved: see what is said beside the fields." } } }
            @if let Some(found) = &self.found { (problem(found)) }
            @if let Some(found) = &self.tried { (tried(found)) }
        }
    }
}
