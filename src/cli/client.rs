//! `forebay client`

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use super::options::{report, sources};
use crate::client::install::{InstallError, Outcome, Root};
use crate::client::{self, Authority, Existing, Kind, Mirror, Plan, Request, Scope, parse_scope};
use crate::config::{Config, Overrides};

/// Shows what points a client at the mirror: each file with its place, or flags, and how to reload.
#[derive(Debug, Args)]
pub(super) struct Client {
    /// What is to pull through the mirror
    #[arg(value_enum)]
    kind: Kind,

    #[arg(
        long,
        value_name = "URL",
        help = "Where clients reach the mirror, such as http://mirror.example.com:5000; not given: where the configuration listens"
    )]
    mirror: Option<Mirror>,

    /// Registry to pull through it, or '*' for all; may be given more than once. Not given: each that is configured
    #[arg(long, value_name = "HOST", value_parser = parse_scope)]
    registry: Vec<Scope>,

    /// Certificate authority of a mirror that has its own, as a PEM file on the client's machine
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Never go around the mirror, even when it can't help
    #[arg(long)]
    no_fallback: bool,

    /// Directory that stands for /, such as that of an image being built
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Put it in place: merge it into what is there, and keep a backup
    #[arg(long, conflicts_with = "undo")]
    write: bool,

    /// Take out what --write put in; give the same flags
    #[arg(long)]
    undo: bool,

    #[arg(
        long,
        value_name = "FILE",
        help = "Configuration file of the mirror [env: FOREBAY_CONFIG]"
    )]
    config: Option<PathBuf>,
}

/// A failure, with the status that it ends in.
struct Failed(Exit, String);

impl From<InstallError> for Failed {
    fn from(error: InstallError) -> Self {
        Self(Exit::Failure, error.to_string())
    }
}

impl From<client::Unsupported> for Failed {
    fn from(error: client::Unsupported) -> Self {
        Self(Exit::Usage, error.to_string())
    }
}

impl Client {
    pub(super) fn run(self) -> Exit {
        let overrides = Overrides {
            // No cache is opened here, and a client's machine need not have a place for one.
            cache_dir: Some("/".into()),
            ..Overrides::default()
        };
        let config = match Config::load(sources(self.config.clone(), overrides)) {
            Ok(config) => config,
            Err(errors) => return report(&errors),
        };
        match self.answer(&config) {
            Ok(text) => print(&text),
            Err(Failed(exit, message)) => {
                eprintln!("error: {message}");
                exit
            }
        }
    }

    /// Does what is asked for, and says on stderr what else there is to know.
    fn answer(&self, config: &Config) -> Result<String, Failed> {
        let root = Root::new(self.root.clone());
        let request = self.request(config, &root)?;
        if !self.write && !self.undo {
            let plan = client::plan(self.kind, &request, &Existing::default())?;
            self.remark(&request, config, &plan);
            return Ok(show(&plan, &root));
        }
        let mut existing = root.existing(self.kind)?;
        if self.write {
            root.check(self.kind, &request, &mut existing)?;
        }
        let plan = client::plan(self.kind, &request, &existing)?;
        if plan.files.is_empty() {
            let message = format!(
                "{} has no file to write: run the same without --write and --undo, which shows what to do",
                self.kind.name()
            );
            return Err(Failed(Exit::Usage, message));
        }
        if self.undo {
            return Ok(told(&root.undo(&plan.files)?, &plan, &request));
        }
        let outcomes = root.write(&plan.files)?;
        self.remark(&request, config, &plan);
        Ok(told(&outcomes, &plan, &request))
    }

    fn request(&self, config: &Config, root: &Root) -> Result<Request, Failed> {
        Ok(Request {
            mirror: self.mirror(config)?,
            scopes: self.scopes(config, root)?,
            authority: self.authority(root)?,
            fallback: !self.no_fallback,
            aliases: client::aliases(config),
        })
    }

    fn mirror(&self, config: &Config) -> Result<Mirror, Failed> {
        if let Some(mirror) = &self.mirror {
            return Ok(mirror.clone());
        }
        let listen = config.server.listen.first().copied();
        let has_tls = config.server.tls.is_some();
        let mirror = listen.and_then(|address| Mirror::listening(address, has_tls));
        mirror.ok_or_else(|| {
            let address = listen.map(|listen| listen.to_string()).unwrap_or_default();
            let scheme = if has_tls { "https" } else { "http" };
            Failed(
                Exit::Usage,
                format!(
                    "the mirror listens on {address}, which is not an address that a client can ask; say where clients \
                     reach it: --mirror {scheme}://HOST:PORT"
                ),
            )
        })
    }

    /// The file that --ca names, by the path that it has where --root is `/`.
    fn authority(&self, root: &Root) -> Result<Option<Authority>, Failed> {
        let Some(file) = &self.ca else {
            return Ok(None);
        };
        let failed = |problem: &dyn std::fmt::Display| {
            Failed(Exit::Usage, format!("--ca {}: {problem}", file.display()))
        };
        let pem = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
        let path = std::path::absolute(file).map_err(|error| failed(&error))?;
        let authority = Authority::new(&root.seen_inside(&path), &pem);
        authority.map(Some).map_err(|problem| failed(&problem))
    }

    fn scopes(&self, config: &Config, root: &Root) -> Result<Vec<Scope>, Failed> {
        if !self.registry.is_empty() {
            let mut scopes = Vec::new();
            for scope in &self.registry {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
            }
            return Ok(scopes);
        }
        let mut scopes = client::default_scopes(self.kind, config);
        if self.undo
            && matches!(
                self.kind,
                Kind::Containerd | Kind::Nerdctl | Kind::DockerContainerd
            )
        {
            for name in root.hosts_of_ours(&root.existing(self.kind)?)? {
                scopes.extend(
                    parse_scope(&name)
                        .ok()
                        .filter(|scope| !scopes.contains(scope)),
                );
            }
        }
        Ok(scopes)
    }

    fn remark(&self, request: &Request, config: &Config, plan: &Plan) {
        let unknown = client::unknown(&request.scopes, config);
        for registry in unknown {
            eprintln!(
                "note: {registry} is not in the configuration read here; the mirror refuses it unless its own has \
                 [upstreams.\"{registry}\"]"
            );
        }
        let families = client::families(self.kind, config);
        if self.registry.is_empty() && !families.is_empty() {
            let all = if self.kind.takes_all() {
                ", or --registry '*' for all"
            } else {
                ""
            };
            eprintln!(
                "note: these are families of registries, which can't be listed; name each that you use with --registry \
                 HOST{all}: {}",
                families.join(", ")
            );
        }
        for note in &plan.notes {
            eprintln!("note: {note}");
        }
    }
}

/// Each file under its path, or the flags; and then how to reload.
fn show(plan: &Plan, root: &Root) -> String {
    let mut text = String::new();
    for file in plan.files.iter().filter(|file| !file.absent) {
        let path = root.place(&file.path);
        write!(text, "==> {} <==\n{}\n", path.display(), file.edit.fresh())
            .expect("writing to a string");
    }
    for line in &plan.lines {
        writeln!(text, "{line}").expect("writing to a string");
    }
    add_reload(&mut text, plan);
    text
}

fn add_reload(text: &mut String, plan: &Plan) {
    if !plan.reload.is_empty() {
        writeln!(text, "==> then <==").expect("writing to a string");
    }
    for line in &plan.reload {
        writeln!(text, "{line}").expect("writing to a string");
    }
}

/// What became of each file; and then how to reload, if anything did.
fn told(outcomes: &[(PathBuf, Outcome)], plan: &Plan, request: &Request) -> String {
    let mut text = String::new();
    for (path, outcome) in outcomes {
        let said = match outcome {
            Outcome::Created => "written".into(),
            Outcome::Changed(None) => "changed".into(),
            Outcome::Changed(Some(backup)) => format!("changed; as it was: {}", backup.display()),
            Outcome::Unchanged => "says so already".into(),
            Outcome::Restored => "again as it was".into(),
            Outcome::Deleted => "removed".into(),
            Outcome::TakenOut(None) => "taken out; your own changes are still in it".into(),
            Outcome::TakenOut(Some(backup)) => format!(
                "taken out; your own changes are still in it, and the file before --write is still in {}",
                backup.display()
            ),
            Outcome::NothingOfOurs => format!("nothing to take out for {}", request.mirror.url()),
            Outcome::StillNeeded(left) => {
                format!("left as it is: without it {} would not be read", left.display())
            }
            Outcome::PerhapsTheirs => "left as it is: it says so, but no --write is on record that put it there; if it is \
                                       not yours, take it out yourself"
                .into(),
        };
        writeln!(text, "{}: {said}", path.display()).expect("writing to a string");
    }
    let idle = |outcome: &Outcome| {
        use Outcome::{NothingOfOurs, PerhapsTheirs, StillNeeded, Unchanged};
        matches!(
            outcome,
            Unchanged | NothingOfOurs | PerhapsTheirs | StillNeeded(_)
        )
    };
    if !outcomes.iter().all(|(_, outcome)| idle(outcome)) {
        text.push('\n');
        add_reload(&mut text, plan);
    }
    text
}

fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Success,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            eprintln!("error: nothing can be printed: {error}");
            Exit::Failure
        }
    }
}
