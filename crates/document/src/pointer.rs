/// The steps of a JSON pointer (RFC 6901) behind its first slash: `a~1b/0` leads to `0` in `a/b`.
pub fn steps(behind_slash: &str) -> impl Iterator<Item = String> + '_ {
    behind_slash.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_hold_what_parts_steps() {
        assert_eq!(steps("a~1b/~01//0").collect::<Vec<_>>(), ["a/b", "~1", "", "0"]);
    }
}
