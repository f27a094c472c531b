//! API tokens: made by a person, shown once, kept as SHA-256, and never able to do more than their maker.

use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::audit::{Actor, Attempt};
use crate::catalog::Catalog;
use crate::commit::{Authority, CatalogChange, ObjectEdit, apply};
use crate::credential::{self, IssuedCredential};
use crate::error::{CatalogError, CredentialProblem};
use crate::keys::{SecretValue, sha256};
use crate::object::{Labels, ObjectContent, ObjectId, ObjectKind};
use crate::read::directory;
use crate::rights::{ActingPrincipal, PrincipalProblem, RoleGrants, TokenForm, TokenSpec};
use crate::store::StoreAccess;

/// 400 days.
const LIFE_MAX_US: i64 = 400 * 24 * 3_600 * 1_000_000;
/// 90 days.
const LIFE_US: i64 = 90 * 24 * 3_600 * 1_000_000;

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Where it is kept. A program's token, and one with grants, may do nothing in any other workspace.
    pub workspace: String,
    pub name: String,
    pub form: TokenForm,
    /// None: a person's token may do all that its maker may, in every workspace; a program's, all that they may do in its workspace.
    pub grants: Option<RoleGrants>,
    /// From now, at most 400 days; None is 90 days.
    pub life_us: Option<i64>,
    /// The user who makes it.
    pub maker: ObjectId,
    pub actor: Actor,
    /// The time now: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
}

/// How the texts of tokens begin, before the `_`.
const PREFIXES: [&str; 2] = [prefix(TokenForm::Person), prefix(TokenForm::Service)];

const fn prefix(form: TokenForm) -> &'static str {
    match form {
        TokenForm::Person => "tgp",
        TokenForm::Service => "tgs",
    }
}

/// Whether a text looks like a token of a catalog. Whether it is one, [`Catalog::authenticate_token`] says.
#[must_use]
pub fn is_token_text(text: &str) -> bool {
    text.split_once('_').is_some_and(|(prefix, _)| PREFIXES.contains(&prefix))
}

impl Catalog {
    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// The maker may not, or lacks what the token would get. Nothing was made.
    pub async fn create_token(&self, new: &NewToken) -> Result<IssuedCredential, CatalogError> {
        let text = credential::new_text(prefix(new.form), self.entropy());
        let spec = TokenSpec {
            form: new.form,
            maker: new.maker.clone(),
            grants: new.grants.clone(),
            last4: credential::last4(&text),
            expires_at_us: new.at_us + new.life_us.unwrap_or(LIFE_US).clamp(0, LIFE_MAX_US),
        };
        let id = self.new_id(ObjectKind::Token);
        let content = ObjectContent {
            kind: ObjectKind::Token,
            name: new.name.clone(),
            labels: Labels::new(),
            owner: Some(new.maker.clone()),
            spec: serde_json::to_value(spec).unwrap_or(Value::Null),
        };
        let edit = ObjectEdit::Create { id: id.clone(), content };
        let change = CatalogChange {
            authority: Authority::Principal(new.maker.clone()),
            actor: new.actor.clone(),
            ..CatalogChange::by_program(&new.workspace, vec![edit], new.at_us)
        };
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = match apply(self, transaction.as_mut(), &change).await {
            Ok(_) => credential::keep(transaction.as_mut(), &id, &sha256(&text)).await,
            Err(error) => Err(error),
        };
        let attempt = Attempt {
            actor: &new.actor,
            at_us: new.at_us,
            workspace: &new.workspace,
            action: "created",
            kind: Some(ObjectKind::Token),
            object: Some(&id),
            name: Some(&new.name),
        };
        self.conclude(transaction, outcome, attempt).await?;
        Ok(IssuedCredential { id, value: SecretValue::from(text) })
    }

    /// Whose token this is, with what it may do now.
    ///
    /// # Errors
    /// It is none, unknown, expired, or its maker is disabled or gone.
    pub async fn authenticate_token(&self, text: &str, at_us: i64) -> Result<ActingPrincipal, CatalogError> {
        credential::check_text(text, &PREFIXES)?;
        let hash = sha256(text);
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = "SELECT hash, id, last_used_at_us FROM credential WHERE hash = $1";
        let found = transaction.run(sql, vec![hash[..].into()]).await?;
        let row = found.first().ok_or(CredentialProblem::Unknown)?;
        if !bool::from(row.bytes(0)?.ct_eq(&hash[..])) {
            return Err(CredentialProblem::Unknown.into());
        }
        let id = ObjectId::parse(&row.text(1)?)?;
        let principal = directory(transaction.as_mut()).await?.principal(&id, at_us);
        let principal = principal.map_err(|problem| match problem {
            PrincipalProblem::Expired(_) => CredentialProblem::Expired,
            _ => CredentialProblem::Unknown,
        })?;
        let is_due = credential::is_use_due(row.integer_or_null(2)?, at_us);
        drop(transaction);
        if is_due {
            self.note_use(&[id], at_us).await?;
        }
        Ok(principal)
    }

    /// Ends a token for whoever has shown it: to give up a right takes none.
    ///
    /// # Errors
    /// It is not there, or goes on.
    pub async fn end_token(&self, token: &ObjectId, actor: &Actor, at_us: i64) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = "SELECT workspace FROM object WHERE id = $1";
        let found = transaction.run(sql, vec![token.as_str().into()]).await?;
        let nothing = || CatalogError::Nothing { what: format!("token {token}") };
        let workspace = found.first().ok_or_else(nothing)?.text(0)?;
        drop(transaction);
        let edit = ObjectEdit::Delete { id: token.clone(), expected: None };
        let change = CatalogChange { actor: actor.clone(), ..CatalogChange::by_program(&workspace, vec![edit], at_us) };
        self.commit(&change).await.map(drop)
    }
}
