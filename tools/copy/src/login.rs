//! `login REGISTRY`: checks credentials with the registry, and stores them where podman, skopeo and we look for them.

use crate::stored::{Key, Target};
use crate::transfer;
use libimage::auth::AuthError;
use libimage::config::{Credentials, Policy, Secret};
use libimage::context::{Context, Side};
use libimage::registry::{Registry, RegistryError};
use std::path::PathBuf;
use trimaran_cli::ends::End;
use trimaran_cli::{Failure, authfile, output, password, registries};

/// Checks a user and password with a registry and stores them, for this tool and others that read containers-auth.json(5)
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The registry, or a part of it: HOST, HOST:PORT, HOST/NAMESPACE or HOST/NAMESPACE/REPOSITORY
    #[arg(value_name = "REGISTRY")]
    registry: String,

    /// The user; asked for on a terminal if it is not given
    #[arg(long, short, value_name = "USER")]
    username: Option<String>,

    /// The password; other users of this machine may see it in the list of processes
    #[arg(
        long,
        short,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    password: Option<String>,

    /// Read the password from stdin, to its end
    #[arg(long)]
    password_stdin: bool,

    #[command(flatten)]
    target: Target,

    /// Whether the registry must prove who it is; `=false` also allows plain HTTP [default: true, unless registries.conf calls it insecure]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,

    /// Directory with certificates for the registry: authorities in *.crt, our own in *.cert and *.key
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Print the user that is logged in, and do nothing else
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,

    /// Say where the credentials are stored
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let key: Key = args.registry.parse()?;
    if args.get_login {
        return match key.known(&args.target)? {
            Some(credentials) => output::line(user(&credentials)),
            None => Err(key.not_logged_in()),
        };
    }
    let keeper = args.target.keeper(&key)?;
    let credentials = match asked_for(args, &key)? {
        Some(credentials) => credentials,
        // Nothing was given, and what is stored still works.
        None => {
            return output::line(format_args!(
                "Existing credentials are valid. Already logged in to {key}"
            ));
        }
    };
    if !verify(args, &key, &credentials)? {
        output::warn(format_args!(
            "{} did not ask for credentials: they are stored without having been checked",
            key.host()
        ));
    }
    keeper.store(&key, &credentials)?;
    if args.verbose {
        output::note(format_args!("the credentials are in {keeper}"));
    }
    output::line("Login Succeeded!")
}

fn user(credentials: &Credentials) -> &str {
    match credentials {
        Credentials::Basic { user, .. } => user,
        _ => "<token>",
    }
}

/// Finds out the user and the password: from the flags, else from what is stored already (then `None`, if that is right), else from a
/// person.
fn asked_for(args: &Args, key: &Key) -> Result<Option<Credentials>, Failure> {
    let known = match (&args.username, &args.password, args.password_stdin) {
        (None, None, false) => key.known(&args.target)?,
        _ => None,
    };
    if let Some(known) = &known
        && verify(args, key, known).unwrap_or(false)
    {
        return Ok(None);
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None if !password::can_ask() || args.password_stdin => {
            return Err(Failure::usage(
                "--username is needed where nobody can be asked for it",
            ));
        }
        None => ask_user(known.as_ref())?,
    };
    let secret = match &args.password {
        Some(secret) => secret.clone(),
        None if args.password_stdin => password::from_stdin()?,
        None if !password::can_ask() => {
            return Err(Failure::usage(
                "--password-stdin is needed where nobody can be asked for the password",
            ));
        }
        None => password::ask_secret("Password: ")?,
    };
    if user.is_empty() || secret.is_empty() {
        return Err(Failure::usage(
            "the user and the password must not be empty",
        ));
    }
    if user.contains(':') {
        return Err(Failure::usage(
            "a user's name has no colon: the registry would take what follows for the password",
        ));
    }
    Ok(Some(Credentials::Basic {
        user,
        password: Secret::new(secret),
    }))
}

fn ask_user(known: Option<&Credentials>) -> Result<String, Failure> {
    let Some(Credentials::Basic { user, .. }) = known else {
        return password::ask("Username: ");
    };
    let answer = password::ask(&format!("Username ({user}): "))?;
    Ok(if answer.is_empty() {
        user.clone()
    } else {
        answer
    })
}

/// Shows the registry the credentials. `false` if it does not want to see any.
fn verify(args: &Args, key: &Key, credentials: &Credentials) -> Result<bool, Failure> {
    let end = End {
        credentials: Some(credentials.clone()),
        tls_verify: args.tls_verify,
        cert_dir: args.cert_dir.clone(),
        authfile: None,
    };
    let uid = authfile::uid_here();
    let conf = args.target.registries_conf.as_deref();
    // No image is used: there is nothing for a policy to decide. A registry that is logged in to is never another one's location.
    let builder = registries::apply(Context::builder(Policy::accept_anything()), conf, uid)?;
    let side = Side::Destination;
    let context = end.apply_without_files(builder, side).build();
    let registry = Registry::of_host(&context, side, key.host())?;
    transfer::perform(async { Ok(registry.login().await) })?.map_err(|error| told(key, error))
}

fn told(key: &Key, error: RegistryError) -> Failure {
    match error {
        RegistryError::Auth(AuthError::Rejected { user, .. }) => {
            Failure::new(format!("{} does not accept the user {user:?} with this password", key.host()))
                .with_hint("nothing has been stored; many registries want an access token in place of the password")
        }
        error => transfer::failure(error.into()),
    }
}
