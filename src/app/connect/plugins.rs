//! A plugin's destination: each place that it may send to is connected to, and nothing is sent.

use super::PATIENCE;
use crate::config::PluginConfig;

/// What each place said, or the first that cannot be reached with all that is wrong.
pub(super) async fn plugin(config: &PluginConfig) -> Result<String, String> {
    let Some(effective_policy) = &config.now else {
        return Ok("no version of it is live yet, so there is nowhere to connect to".to_owned());
    };
    let reached = effective_policy.reach(PATIENCE).await;
    let unset = match effective_policy.secrets_unset() {
        [] => String::new(),
        [name] => format!("; the secret {name} is not set"),
        names => format!("; the secrets {} are not set", names.join(", ")),
    };
    let away: Vec<String> = reached
        .iter()
        .filter_map(|(origin, reached)| Some(format!("{origin} cannot be reached: {}", reached.as_ref().err()?)))
        .collect();
    if !away.is_empty() {
        return Err(away.join("; ") + &unset);
    }
    let places: Vec<String> = reached.iter().map(|(origin, _)| origin.to_string()).collect();
    Ok(match places.len() {
        0 => format!("it names no single host to connect to, and nothing was sent{unset}"),
        1 => format!("{} can be reached, and nothing was sent{unset}", places[0]),
        many => format!("{many} places can be reached ({}), and nothing was sent{unset}", places.join(", ")),
    })
}
