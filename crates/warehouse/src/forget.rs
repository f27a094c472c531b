//! The statements that remove from tables what they have about somebody. Pure: who runs them is the caller.

use std::fmt::Write as _;

use tidegate_process::telemetry::harmless::is_harmful;

use crate::schema_cache::FoundSchema;

/// How a warehouse spells what is needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetDialect {
    Sqlite,
    Postgres,
    ClickHouse,
    Snowflake,
    /// Files without statements: what is printed is for whoever writes them anew.
    Lake,
}

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgottenId<'a> {
    User(&'a str),
    Anonymous(&'a str),
    Group(&'a str),
    /// A trait, by its name and its value in small letters without white space around it.
    Trait(&'a str, &'a str),
    /// The same by the hexadecimal SHA-256 of that value.
    HashedTrait(&'a str, &'a str),
}

/// What removes the rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetStatement {
    pub table: String,
    /// Counts the rows.
    pub count: String,
    /// Removes them.
    pub delete: String,
    /// What holds for a row of it.
    pub condition: String,
}

const VIOLATIONS: &str = "event_violations";
/// SQLite takes conditions of 1,000 levels, and each `OR` behind another is one.
const CONDITIONS_OF_GROUP: usize = 200;

impl ForgetDialect {
    /// A text of SQL that means this one and no other, whatever it is printed on and whoever reads it.
    fn literal(self, text: &str) -> String {
        // Of another text in quotation marks a setting of the server says what a backslash means.
        let mut out = String::from(if self == Self::Postgres { "E'" } else { "'" });
        for letter in text.chars() {
            match (self, letter) {
                (_, letter) if is_harmful(letter) || matches!(letter, '\n' | '\t') => self.spell(letter, &mut out),
                (Self::ClickHouse, '\'') => out.push_str("\\'"),
                (_, '\'') => out.push_str("''"),
                (Self::ClickHouse | Self::Snowflake | Self::Postgres, '\\') => out.push_str("\\\\"),
                (_, letter) => out.push(letter),
            }
        }
        out.push('\'');
        out
    }

    /// Within a text of SQL a character that a terminal does not show.
    fn spell(self, letter: char, out: &mut String) {
        let number = u32::from(letter);
        // Writing to a String cannot fail.
        _ = match self {
            Self::ClickHouse => {
                letter.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
            }
            Self::Postgres | Self::Snowflake if number <= 0xffff => write!(out, "\\u{number:04x}"),
            Self::Postgres => write!(out, "\\U{number:08x}"),
            Self::Snowflake => write!(out, "{letter}"),
            Self::Sqlite => write!(out, "' || char({number}) || '"),
            Self::Lake => write!(out, "' || chr({number}) || '"),
        };
    }

    /// Whether a column of text can have this one. What it cannot have is in the overflow of its row.
    fn can_have(self, text: &str) -> bool {
        self != Self::Postgres || !text.contains('\0')
    }

    fn quoted(self, name: &str) -> String {
        match self {
            Self::ClickHouse => format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`")),
            Self::Snowflake => format!("\"{}\"", name.to_ascii_uppercase().replace('"', "\"\"")),
            Self::Sqlite | Self::Postgres | Self::Lake => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// A column as text.
    fn text(self, column: &str) -> String {
        let column = self.quoted(column);
        match self {
            Self::Postgres => format!("{column}::text"),
            Self::ClickHouse => format!("toString({column})"),
            Self::Snowflake => format!("TO_VARCHAR({column})"),
            Self::Sqlite | Self::Lake => format!("CAST({column} AS TEXT)"),
        }
    }

    /// A field of the event in the column `payload`, as text.
    fn of_payload(self, field: &str) -> String {
        let payload = self.quoted("payload");
        match self {
            Self::Postgres => format!("{payload} ->> '{field}'"),
            Self::ClickHouse => format!("JSONExtractString(toString({payload}), '{field}')"),
            Self::Snowflake => format!("TO_VARCHAR(GET(TRY_PARSE_JSON(TO_VARCHAR({payload})), '{field}'))"),
            Self::Sqlite | Self::Lake => format!("{payload} ->> '$.{field}'"),
        }
    }

    fn is_trait(self, text: &str, value: &str) -> String {
        let value = self.literal(value);
        match self {
            Self::Postgres => format!("lower(btrim({text})) = {value}"),
            Self::ClickHouse => format!("lowerUTF8(trimBoth({text})) = {value}"),
            Self::Sqlite | Self::Snowflake | Self::Lake => format!("lower(trim({text})) = {value}"),
        }
    }

    /// `None` where the warehouse has no SHA-256.
    fn is_hashed_trait(self, text: &str, digest: &str) -> Option<String> {
        let digest = self.literal(digest);
        match self {
            Self::Postgres => {
                Some(format!("encode(sha256(convert_to(lower(btrim({text})), 'UTF8')), 'hex') = {digest}"))
            }
            Self::ClickHouse => Some(format!("lower(hex(SHA256(lowerUTF8(trimBoth({text}))))) = {digest}")),
            Self::Snowflake => Some(format!("SHA2(LOWER(TRIM({text})), 256) = {digest}")),
            Self::Sqlite | Self::Lake => None,
        }
    }

    fn delete(self, table: &str, condition: &str) -> String {
        match self {
            Self::ClickHouse => format!("ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 2"),
            Self::Lake => format!("-- write {table} anew without the rows where {condition}"),
            Self::Sqlite | Self::Postgres | Self::Snowflake => format!("DELETE FROM {table} WHERE {condition}"),
        }
    }
}

/// A trait as a column is called that nobody has renamed.
fn trait_column(name: &str) -> String {
    let mut column = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && was_lower {
            column.push('_');
        }
        was_lower = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric() { column.extend(c.to_lowercase()) } else { column.push('_') }
    }
    column
}

fn conditions(dialect: ForgetDialect, columns: &[&str], id: ForgottenId<'_>, is_violations: bool) -> Vec<String> {
    let equal = |names: &[&str], fields: &[&str], value: &str| -> Vec<String> {
        let value = dialect.literal(value);
        if is_violations {
            return fields.iter().map(|field| format!("{} = {value}", dialect.of_payload(field))).collect();
        }
        let there = names.iter().filter(|name| columns.contains(name));
        there.map(|name| format!("{} = {value}", dialect.text(name))).collect()
    };
    let of_trait = |name: &str| -> Vec<String> {
        let column = trait_column(name);
        let names = [format!("context_traits_{column}"), format!("traits_{column}"), column];
        names.into_iter().filter(|name| columns.contains(&name.as_str())).map(|name| dialect.text(&name)).collect()
    };
    let (ForgottenId::User(text)
    | ForgottenId::Anonymous(text)
    | ForgottenId::Group(text)
    | ForgottenId::Trait(_, text)
    | ForgottenId::HashedTrait(_, text)) = id;
    if !dialect.can_have(text) {
        return Vec::new();
    }
    match id {
        ForgottenId::User(value) => equal(&["user_id", "previous_id"], &["userId", "previousId"], value),
        ForgottenId::Anonymous(value) => equal(&["anonymous_id", "previous_id"], &["anonymousId", "previousId"], value),
        ForgottenId::Group(value) => equal(&["group_id", "context_group_id"], &["groupId"], value),
        ForgottenId::Trait(name, value) => of_trait(name).iter().map(|text| dialect.is_trait(text, value)).collect(),
        ForgottenId::HashedTrait(name, digest) => {
            of_trait(name).iter().filter_map(|text| dialect.is_hashed_trait(text, digest)).collect()
        }
    }
}

/// What holds where one of them does.
fn any_of(conditions: &[String]) -> String {
    if conditions.len() <= CONDITIONS_OF_GROUP {
        return conditions.join(" OR ");
    }
    let groups = conditions.chunks(CONDITIONS_OF_GROUP).map(|group| format!("({})", group.join(" OR ")));
    groups.collect::<Vec<String>>().join(" OR ")
}

/// The statements for each table of a schema that may have something about any of `ids`. `schema` is as the warehouse's SQL spells it;
/// empty where it is part of a table's name.
#[must_use]
pub fn statements(
    dialect: ForgetDialect,
    schema: &str,
    found: &FoundSchema,
    ids: &[ForgottenId<'_>],
) -> Vec<ForgetStatement> {
    let mut statements = Vec::new();
    for (name, table) in found.tables.iter().filter(|(_, table)| table.is_table) {
        let columns: Vec<&str> = table.columns.iter().map(|column| &*column.name).collect();
        let is_violations = name.ends_with(VIOLATIONS) && columns.contains(&"payload");
        let mut any: Vec<String> =
            ids.iter().flat_map(|id| conditions(dialect, &columns, *id, is_violations)).collect();
        any.dedup();
        if any.is_empty() {
            continue;
        }
        let quoted = dialect.quoted(name);
        let full = if schema.is_empty() { quoted } else { format!("{schema}.{quoted}") };
        let condition = any_of(&any);
        statements.push(ForgetStatement {
            table: name.clone(),
            count: format!("SELECT count(*) FROM {full} WHERE {condition}"),
            delete: dialect.delete(&full, &condition),
            condition,
        });
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evolve::Type;
    use crate::schema_cache::FoundTable;
    use crate::table::Column;

    fn schema() -> FoundSchema {
        let table = |names: &[&str], is_table| {
            let columns = names.iter().map(|name| Column::found(name, Type::Text, false, true)).collect();
            FoundTable { is_table, key: Vec::new(), columns }
        };
        let mut found = FoundSchema { has_schema: true, ..FoundSchema::default() };
        found.tables.insert("order_completed".into(), table(&["id", "user_id", "anonymous_id"], true));
        found.tables.insert("identifies".into(), table(&["id", "user_id", "email"], true));
        found.tables.insert("users".into(), table(&["user_id", "email"], false));
        found.tables.insert("event_violations".into(), table(&["id", "payload"], true));
        found.tables.insert("_tidegate_ledger".into(), table(&["sync"], true));
        found
    }

    #[test]
    fn each_table_that_may_have_somebody_gets_a_statement_and_no_value_leaves_its_quotes() {
        let ids = [ForgottenId::User("o'x\\"), ForgottenId::Trait("email", "a@b")];
        let deletes = |dialect, schema: &str| -> Vec<String> {
            statements(dialect, schema, &self::schema(), &ids).into_iter().map(|found| found.delete).collect()
        };
        assert_eq!(
            deletes(ForgetDialect::Sqlite, ""),
            [
                r#"DELETE FROM "event_violations" WHERE "payload" ->> '$.userId' = 'o''x\' OR "payload" ->> '$.previousId' = 'o''x\'"#,
                r#"DELETE FROM "identifies" WHERE CAST("user_id" AS TEXT) = 'o''x\' OR lower(trim(CAST("email" AS TEXT))) = 'a@b'"#,
                r#"DELETE FROM "order_completed" WHERE CAST("user_id" AS TEXT) = 'o''x\'"#,
            ]
        );
        assert_eq!(
            deletes(ForgetDialect::ClickHouse, "`shop`")[2],
            r"ALTER TABLE `shop`.`order_completed` DELETE WHERE toString(`user_id`) = 'o\'x\\' SETTINGS mutations_sync = 2"
        );
        assert_eq!(
            deletes(ForgetDialect::Snowflake, "\"DB\".\"SHOP\"")[2],
            r#"DELETE FROM "DB"."SHOP"."ORDER_COMPLETED" WHERE TO_VARCHAR("USER_ID") = 'o''x\\'"#
        );
        let hashed = [ForgottenId::HashedTrait("email", "00ff")];
        assert_eq!(statements(ForgetDialect::Sqlite, "", &schema(), &hashed), []);
        assert_eq!(statements(ForgetDialect::Postgres, "\"public\"", &schema(), &hashed).len(), 1);
    }

    #[test]
    fn a_value_is_never_taken_for_another() {
        let of = |dialect, value: &str| -> Option<String> {
            let found = statements(dialect, "", &schema(), &[ForgottenId::User(value)]);
            found.into_iter().find(|found| found.table == "order_completed").map(|found| found.condition)
        };
        for (dialect, value, wanted) in [
            (ForgetDialect::Sqlite, "a\0b\n", r#"CAST("user_id" AS TEXT) = 'a' || char(0) || 'b' || char(10) || ''"#),
            (ForgetDialect::Sqlite, "100%_é", r#"CAST("user_id" AS TEXT) = '100%_é'"#),
            (ForgetDialect::Postgres, "\\'; --", r#""user_id"::text = E'\\''; --'"#),
            (ForgetDialect::Postgres, "a\u{202e}b\t", r#""user_id"::text = E'a\u202eb\u0009'"#),
            (ForgetDialect::ClickHouse, "a\0\u{202e}'", r"toString(`user_id`) = 'a\x00\xe2\x80\xae\''"),
            (ForgetDialect::Snowflake, "a\r\\'", r#"TO_VARCHAR("USER_ID") = 'a\u000d\\'''"#),
            (ForgetDialect::Lake, "a\u{1b}", r#"CAST("user_id" AS TEXT) = 'a' || chr(27) || ''"#),
        ] {
            assert_eq!(of(dialect, value).as_deref(), Some(wanted), "{value:?}");
        }
        assert_eq!(of(ForgetDialect::Postgres, "a\0b"), None);
    }

    #[test]
    fn a_trait_has_the_column_that_events_give_it() {
        assert_eq!(["email", "firstName", "e-mail"].map(trait_column), ["email", "first_name", "e_mail"]);
    }
}
