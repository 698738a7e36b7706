//! `updraft users ...`: who may use the web server.

use crate::confirm::confirm;
use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use clap::{Args, Subcommand};
use std::io::{BufRead, IsTerminal};
use updraft_model::User;
use updraft_model::user::Role;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the users
    List,
    /// Make a user
    Create {
        /// The user's name
        username: String,

        /// What the user may do: viewer, user, op or admin
        #[arg(long, short, value_name = "ROLE")]
        role: Role,

        #[command(flatten)]
        password: Password,
    },
    /// Give a user another password
    SetPassword {
        /// The user's name
        username: String,

        #[command(flatten)]
        password: Password,
    },
    /// Remove a user
    Delete {
        /// The user's name
        username: String,

        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Where the password comes from; not given, it is a line of standard input.
#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Draw a password, and print it
    #[arg(long)]
    use_random_password: bool,
}

impl Password {
    /// The password, and whether it was drawn.
    fn get(&self, session: &Session, printer: Printer) -> Result<(String, bool), Failure> {
        if self.use_random_password {
            return Ok((session.engine.drawn_password(), true));
        }
        let terminal = std::io::stdin().is_terminal();
        if terminal {
            printer.note("the password (it is not shown):");
        }
        let hidden = terminal.then(Echo::off);
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        drop(hidden);
        let password = line.trim_end_matches(['\r', '\n']).to_owned();
        if password.is_empty() {
            return Err(Failure::user("there is no password")
                .hint("write it as a line to standard input, or give `--use-random-password`"));
        }
        Ok((password, false))
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Echo(Option<rustix::termios::Termios>);

impl Echo {
    fn off() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Self(None) };
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        Self(tcsetattr(std::io::stdin(), OptionalActions::Flush, &now).ok().map(|()| before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Flush, before);
        }
    }
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    match command {
        Command::List => printer.rows(&rows(&session.engine.store.users().await?)),
        Command::Create { username, role, password } => {
            let (password, drawn) = password.get(&session, printer)?;
            let user = session.engine.create_user(&username, role, &password).await?;
            printer.note(format_args!("the user `{username}` was made, as {}", user.role));
            show(drawn, &password, printer)
        }
        Command::SetPassword { username, password } => {
            // Before anybody is asked for a password.
            session.engine.user(&username).await?;
            let (password, drawn) = password.get(&session, printer)?;
            session.engine.set_password(&username, &password).await?;
            printer.note(format_args!(
                "the password of `{username}` was set; who is logged in with the old one has to log in again"
            ));
            show(drawn, &password, printer)
        }
        Command::Delete { username, yes } => {
            session.engine.user(&username).await?;
            confirm(yes, &format!("remove the user `{username}`?"), printer)?;
            session.engine.delete_user(&username).await?;
            printer.note(format_args!("the user `{username}` was removed"));
            Ok(())
        }
    }
}

/// Prints a password that nobody chose.
fn show(drawn: bool, password: &str, printer: Printer) -> Result<(), Failure> {
    if drawn { printer.text(&format!("{password}\n")) } else { Ok(()) }
}

fn rows(users: &[User]) -> Rows {
    let mut rows = Rows::new(&["username", "role", "created_at"]);
    for user in users {
        rows.push(vec![
            Cell::text(&user.username),
            Cell::text(user.role.as_str()),
            Cell::Text(user.created_at.to_string()),
        ]);
    }
    rows
}
