//! Fields of forms, each with its label, what was written into it, and what the API says against it.

use maud::{Markup, html};
use tidegate_api_types::ProblemDetails;

use super::ask::PagePairs;
use super::layout::problem;
use super::text::visible;

/// Characters of what is said against a field.
const WRONG_CHARS_MAX: usize = 600;

/// What was written into a form, and what is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct FormState<'f> {
    pub(super) values: &'f PagePairs,
    pub(super) problem: Option<&'f ProblemDetails>,
}

impl<'f> FormState<'f> {
    pub(super) fn new(values: &'f PagePairs, problem: Option<&'f ProblemDetails>) -> Self {
        Self { values, problem }
    }

    /// What is said against a field: the API names it by its place in the request.
    fn wrong(&self, name: &str) -> Option<&'f ProblemDetails> {
        self.problem.filter(|problem| {
            let field = problem.field.as_deref().unwrap_or_default();
            field == name || field.rsplit(['.', '/']).next() == Some(name) || field.split('.').next() == Some(name)
        })
    }

    /// What is said against the whole, where it is about none of these fields.
    pub(super) fn top(&self, names: &[&str]) -> Markup {
        let found = self.problem.filter(|_| names.iter().all(|name| self.wrong(name).is_none()));
        html! { @if let Some(found) = found { (problem(found)) } }
    }

    /// A line of text. `hint` is an example.
    pub(super) fn text(&self, name: &str, label: &str, hint: &str) -> Markup {
        let wrong = self.wrong(name);
        html! {
            div.field {
                label { (label) input name=(name) value=(self.values.whole(name)) placeholder=(hint) autocomplete="off" aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| wrong_id(name))]; }
                (said(name, wrong))
            }
        }
    }

    /// A password, which is never written back.
    pub(super) fn password(&self, name: &str, label: &str, autocomplete: &str) -> Markup {
        let wrong = self.wrong(name);
        html! {
            div.field {
                label { (label) input name=(name) type="password" required autocomplete=(autocomplete) aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| wrong_id(name))]; }
                (said(name, wrong))
            }
        }
    }

    /// Several lines.
    pub(super) fn area(&self, name: &str, label: &str, rows: &str) -> Markup {
        let wrong = self.wrong(name);
        html! {
            div.field.wide {
                label { (label) textarea name=(name) rows=(rows) spellcheck="false" autocomplete="off" aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| wrong_id(name))] { "\n" (self.values.whole(name)) } }
                (said(name, wrong))
            }
        }
    }

    /// One of several: the value and the word for it.
    pub(super) fn choice<'o>(
        &self,
        name: &str,
        label: &str,
        options: impl IntoIterator<Item = (&'o str, &'o str)>,
    ) -> Markup {
        let (wrong, chosen) = (self.wrong(name), self.values.text(name));
        html! {
            div.field {
                label {
                    (label)
                    select name=(name) aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| wrong_id(name))] {
                        @for (value, word) in options { option value=(value) selected[value == chosen] { (word) } }
                    }
                }
                (said(name, wrong))
            }
        }
    }

    /// Yes or no.
    pub(super) fn check(&self, name: &str, label: &str) -> Markup {
        let wrong = self.wrong(name);
        html! {
            div.field {
                label.check { input type="checkbox" name=(name) value="true" checked[self.values.text(name) == "true"] aria-describedby=[wrong.map(|_| wrong_id(name))]; " " (label) }
                (said(name, wrong))
            }
        }
    }
}

/// The fields again, for a form that confirms what another one has said. They are not seen.
pub(super) fn again(values: &PagePairs, names: &[&str]) -> Markup {
    html! {
        @for name in names {
            @if !values.whole(name).is_empty() { input type="hidden" name=(name) value=(values.whole(name)); }
        }
    }
}

fn wrong_id(name: &str) -> String {
    format!("wrong-{name}")
}

fn said(name: &str, wrong: Option<&ProblemDetails>) -> Markup {
    html! {
        @if let Some(wrong) = wrong {
            p.wrong id=(wrong_id(name)) role="alert" { (visible(&wrong.detail, WRONG_CHARS_MAX)) " " span.fix { (visible(&wrong.fix, WRONG_CHARS_MAX)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_api_types::ProblemDetails;

    use super::*;

    fn problem_of(field: &str) -> ProblemDetails {
        ProblemDetails {
            kind: ProblemDetails::kind_of("x"),
            title: String::new(),
            status: 422,
            detail: "<wrong>".to_owned(),
            code: "x".to_owned(),
            fix: "mend it".to_owned(),
            problems: Vec::new(),
            field: Some(field.to_owned()),
        }
    }

    #[test]
    fn what_is_wrong_stands_beside_its_field_or_above_all() {
        let values = PagePairs::read(b"from=%3Cb%3E&user=ann");
        let found = problem_of("spec.from");
        let form = FormState::new(&values, Some(&found));
        let shown = form.text("from", "From", "").into_string();
        assert!(shown.contains("value=\"&lt;b&gt;\"") && shown.contains("&lt;wrong&gt;"), "{shown}");
        assert!(shown.contains("aria-describedby=\"wrong-from\"") && shown.contains("id=\"wrong-from\""), "{shown}");
        assert!(!form.text("user", "User", "").into_string().contains("wrong"));
        assert_eq!(form.top(&["from"]).into_string(), "");
        assert!(form.top(&["user"]).into_string().contains("&lt;wrong&gt;"));
        assert!(!form.password("from", "Password", "current-password").into_string().contains("value="));
        let subjects = problem_of("subjects.0.value");
        let form = FormState::new(&values, Some(&subjects));
        assert!(form.area("subjects", "Who", "3").into_string().contains("&lt;wrong&gt;"));
        assert_eq!(
            again(&values, &["user", "none"]).into_string(),
            "<input type=\"hidden\" name=\"user\" value=\"ann\">"
        );
    }
}
