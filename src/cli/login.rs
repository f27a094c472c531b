//! `tidegate login` and `tidegate logout`: a token of one's own, kept for the commands that come after.

use std::process::ExitCode;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::json;
use tidegate_api_types::control::{CreateToken, ShownTokenForm, WhoAmI};
use tidegate_api_types::sign_in::SignIn;
use tidegate_process::clock;
use tokio::time::{Instant, sleep};

use super::client::{AdminClient, ClientError, ConnectArgs, KeptContext, KeptContexts, SignInClient, server_default};
use super::{CommandDone, CommandFailure, runtime, secret_input, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate login --server https://admin.example.com --provider corp   in a browser, at a provider of tidegate.yaml\n  tidegate login --server https://admin.example.com --user ann        with a password\n  tidegate login --token < token.txt                                  with a token that is there already\n\nThe token is kept for its owner alone in $XDG_CONFIG_HOME/tidegate/contexts.json (~/.config where that is not set), under\nthe name of the server or that of --context, and is used from then on: `tidegate context` lists and changes that.\n`tidegate logout` ends it."
)]
pub(super) struct LoginArgs {
    /// The server's admin API [default: that of the context in use, else http://127.0.0.1:8089]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Sign in at this provider, with a browser on any machine
    #[arg(long, value_name = "NAME", conflicts_with_all = ["user", "token"])]
    provider: Option<String>,
    /// Sign in as this user with a password, from the terminal or standard input
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    user: Option<String>,
    /// Keep a token that is there already, from the terminal or standard input
    #[arg(long)]
    token: bool,
    /// The name to keep it under [default: host and port of the server]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Send secrets over http to another machine too, in a network that you trust
    #[arg(long)]
    allow_http: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct LogoutArgs {
    /// The context to leave [default: the one in use]
    #[arg(long, env = "TIDEGATE_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Send the token over http to another machine too, in a network that you trust
    #[arg(long)]
    allow_http: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Every role counts there.
const EVERYWHERE: &str = "*";
/// Of a token that a password gives.
const DAYS: u64 = 30;
/// What a provider has us wait longer by, when we ask too often (RFC 8628).
const SLOWER: Duration = Duration::from_secs(5);
/// A server that says more is not believed.
const WAIT_SECONDS_MAX: u64 = 3_600;
const PAUSE_SECONDS_MAX: u64 = 60;
const SHOWN_CHARS_MAX: usize = 300;

pub(super) fn run(args: &LoginArgs, json: bool) -> CommandDone {
    for (flag, text) in [("--user", &args.user), ("--provider", &args.provider), ("--context", &args.context)] {
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return Err(CommandFailure::Failed(format!("{flag} is empty; write a name behind it, or leave it out")));
        }
    }
    let mut kept = KeptContexts::read()?;
    let current = kept.current.as_ref().and_then(|name| kept.contexts.get(name)).map(|context| context.server.clone());
    let server = args.server.clone().or(current).unwrap_or_else(server_default);
    let before = kept.of_server(&server).map(|context| context.connect.clone()).unwrap_or_default();
    let connect = args.connect.or(&before).made_whole();
    let context = KeptContext { connect: connect.clone(), ..runtime()?.block_on(signed_in(args, &server, &connect))? };
    let host = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest).trim_end_matches('/');
    let name = args.context.clone().unwrap_or_else(|| host.to_owned());
    kept.current = Some(name.clone());
    kept.contexts.insert(name.clone(), context.clone());
    kept.write()?;
    if json {
        let said = json!({ "context": name, "server": server, "user": context.user, "expires_at": context.expires_at });
        println!("{said}");
    } else {
        let user = style::plain(context.user.as_deref().unwrap_or("the admin token"), SHOWN_CHARS_MAX);
        let until = context.expires_at.map(|end| format!(", until {end}")).unwrap_or_default();
        println!("signed in at {server} as {user}{until}; kept as the context {name:?}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn signed_in(args: &LoginArgs, server: &str, connect: &ConnectArgs) -> Result<KeptContext, CommandFailure> {
    if args.token {
        let token = secret_input::read("token")?.trim().to_owned();
        if token.is_empty() {
            let message =
                "there is no token; paste it when you are asked, or pipe it in: `tidegate login --token < token.txt`";
            return Err(CommandFailure::Failed(message.to_owned()));
        }
        let who = AdminClient::new(server, &token, args.allow_http, connect)?.who_am_i().await?;
        return Ok(KeptContext { expires_at: who.expires_at, ..kept_context(server, token, who.name) });
    }
    let client = SignInClient::new(server, args.allow_http, connect)?;
    if let Some(user) = &args.user {
        let context = with_password(&client, server, user).await?;
        let client = AdminClient::new(server, &context.token, args.allow_http, connect)?;
        // The token is there: whoever cannot be told its end keeps it all the same.
        let expires_at = client.who_am_i().await.ok().and_then(|who| who.expires_at);
        return Ok(KeptContext { expires_at, ..context });
    }
    let provider = match &args.provider {
        Some(provider) => provider.clone(),
        None => only_provider(client.ways().await?.providers)?,
    };
    with_device(&client, server, &provider).await
}

/// A token, and nothing yet of how long it counts and how its server is reached.
fn kept_context(server: &str, token: String, user: Option<String>) -> KeptContext {
    KeptContext { server: server.to_owned(), token, user, expires_at: None, connect: ConnectArgs::default() }
}

/// Where there is one provider, nothing else is meant.
fn only_provider(mut providers: Vec<String>) -> Result<String, CommandFailure> {
    match (providers.pop(), providers.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            let names = format!("{}, {last}", providers.join(", "));
            Err(CommandFailure::Failed(format!(
                "the server has several providers; give --provider with one of: {names}"
            )))
        }
        (None, _) => {
            let message = "the server has no provider; give --user NAME for a password, or --token for a token that is there already";
            Err(CommandFailure::Failed(message.to_owned()))
        }
    }
}

async fn with_password(client: &SignInClient, server: &str, user: &str) -> Result<KeptContext, CommandFailure> {
    let password = secret_input::read(&format!("password of {user}"))?;
    if password.is_empty() {
        let message = "there is no password; type it when you are asked, or pipe it in: `tidegate login --user NAME < password.txt`";
        return Err(CommandFailure::Failed(message.to_owned()));
    }
    let session = client.sign_in(&SignIn { name: user.to_owned(), password }).await?;
    let asked = CreateToken {
        name: format!("login {}", HEXLOWER.encode(&clock::random::<6>())),
        form: ShownTokenForm::Person,
        grants: None,
        days: Some(DAYS),
        user: None,
    };
    let created = client.create_token(&session, workspace(&session.who), &asked).await;
    // The session is for nothing else, whatever came of the token.
    let ended = client.end(&session).await;
    let token = created?.token;
    ended?;
    Ok(kept_context(server, token, session.who.name))
}

/// A workspace in which the user has a role, for a token is kept in one.
fn workspace(who: &WhoAmI) -> &str {
    let usual = crate::api::WORKSPACE_DEFAULT;
    let has = |workspace: &str| who.roles.contains_key(workspace);
    if has(EVERYWHERE) || has(usual) {
        return usual;
    }
    who.roles.keys().next().map_or(usual, String::as_str)
}

async fn with_device(client: &SignInClient, server: &str, provider: &str) -> Result<KeptContext, CommandFailure> {
    let started = client.start_device(provider).await?;
    let (uri, code) = (style::plain(&started.verification_uri, SHOWN_CHARS_MAX), style::plain(&started.user_code, 50));
    eprintln!("Open {uri} in a browser and type the code {}", style::bold(&code));
    if let Some(complete) = &started.verification_uri_complete {
        eprintln!("or open {}", style::plain(complete, SHOWN_CHARS_MAX));
    }
    let deadline = Instant::now() + Duration::from_secs(started.expires_in.min(WAIT_SECONDS_MAX));
    let mut pause = Duration::from_secs(started.interval.clamp(1, PAUSE_SECONDS_MAX));
    while Instant::now() < deadline {
        sleep(pause).await;
        let polled = match client.poll_device(provider, &started.handle).await {
            Ok(polled) => polled,
            Err(ClientError::Refused(problem)) if matches!(problem.status, 429 | 502 | 503) => {
                pause += SLOWER;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if polled.slow_down {
            pause += SLOWER;
        }
        if let Some(token) = polled.token {
            let (user, expires_at) = (polled.user, polled.expires_at);
            return Ok(KeptContext { expires_at, ..kept_context(server, token, user) });
        }
    }
    Err(CommandFailure::Failed("nobody typed the code in time; begin again".to_owned()))
}

pub(super) fn run_logout(args: &LogoutArgs, json: bool) -> CommandDone {
    let mut kept = KeptContexts::read()?;
    let Some((name, context)) = kept.chosen(args.context.as_deref())? else {
        let message = "nobody is signed in: no context is in use; `tidegate context list` shows those that you have, and \
                       `tidegate logout --context NAME` leaves one";
        return Err(CommandFailure::Failed(message.to_owned()));
    };
    let (name, context) = (name.to_owned(), context.clone());
    // The admin token is no session, and nobody ends it by leaving.
    let is_of_catalog = context.token.starts_with("tgp_") || context.token.starts_with("tgs_");
    let ended = if is_of_catalog {
        let client =
            AdminClient::new(&context.server, &context.token, args.allow_http, &args.connect.or(&context.connect))?;
        match runtime()?.block_on(client.sign_out()) {
            Ok(_) => true,
            // It was over already.
            Err(ClientError::Refused(problem)) if problem.status == 401 => true,
            Err(error) => {
                let said = tidegate_process::telemetry::with_causes(&error);
                eprintln!("{} the token could not be ended: {said}", style::bold("warning:"));
                false
            }
        }
    } else {
        false
    };
    kept.contexts.remove(&name);
    kept.current = kept.current.filter(|current| *current != name);
    kept.write()?;
    if json {
        println!("{}", json!({ "context": name, "token_ended": ended }));
    } else {
        println!("signed out of {}; the context {name:?} is gone", context.server);
    }
    Ok(ExitCode::SUCCESS)
}
