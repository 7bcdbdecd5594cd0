//! The screen of `metagate top`: draws the latest figures and minds the keys. A thread of its own asks the gateway, so
//! that a slow answer does not hold up the keys.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, Table, TableState};

use crate::cli::client::Client;
use crate::cli::plain::plain_line;
use crate::cli::top::figures::{Deployment, HEAD, Overview};
use crate::cli::top::order::Order;

/// The time between two questions to the gateway.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a key may wait for new figures to be drawn.
const TICK: Duration = Duration::from_millis(100);
/// The longest filter, in characters.
const FILTER_LIMIT: usize = 64;

/// Shows the table until a key ends it.
pub(super) fn show(client: Client, first: Overview, order: Order) -> anyhow::Result<()> {
    let (sender, latest) = mpsc::channel();
    thread::Builder::new().name("top-figures".to_owned()).spawn(move || ask(&client, &sender))?;
    let mut screen = Screen {
        overview: first,
        fault: None,
        order,
        filter: String::new(),
        typing: false,
        selected: TableState::default(),
    };
    // Restores the terminal after a panic as well.
    let mut terminal = ratatui::try_init()?;
    let ended = screen.run(&latest, |screen| terminal.draw(|frame| screen.draw(frame)).map(drop));
    ratatui::restore();
    ended
}

/// Sends figures once a second until nobody reads them.
fn ask(client: &Client, sender: &Sender<anyhow::Result<Overview>>) {
    loop {
        thread::sleep(INTERVAL);
        if sender.send(Overview::fetch(client)).is_err() {
            return;
        }
    }
}

struct Screen {
    overview: Overview,
    /// Why the figures are old.
    fault: Option<String>,
    order: Order,
    filter: String,
    /// Keys are letters of the filter.
    typing: bool,
    selected: TableState,
}

impl Screen {
    fn run(
        &mut self,
        latest: &Receiver<anyhow::Result<Overview>>,
        mut draw: impl FnMut(&mut Self) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            for answer in latest.try_iter() {
                match answer {
                    Ok(overview) => (self.overview, self.fault) = (overview, None),
                    Err(error) => self.fault = Some(format!("{error:#}")),
                }
            }
            draw(self)?;
            if event::poll(TICK)?
                && let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && self.press(key) == Next::Leave
            {
                return Ok(());
            }
        }
    }

    fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if let KeyCode::Char('c' | 'd') = key.code { Next::Leave } else { Next::Stay };
        }
        match key.code {
            KeyCode::Enter | KeyCode::Esc if self.typing => {
                self.typing = false;
                if key.code == KeyCode::Esc {
                    self.filter.clear();
                }
            }
            KeyCode::Backspace if self.typing => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.typing => self.type_letter(letter),
            KeyCode::Char('q') | KeyCode::Esc => return Next::Leave,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('c') => self.order = Order::Calls,
            KeyCode::Char('e') => self.order = Order::Errors,
            KeyCode::Char('t') => self.order = Order::P99,
            KeyCode::Char('m') => self.order = Order::Memory,
            KeyCode::Char('n') => self.order = Order::Name,
            KeyCode::Down | KeyCode::Char('j') => self.selected.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.selected.select_previous(),
            KeyCode::Home => self.selected.select_first(),
            KeyCode::End => self.selected.select_last(),
            _ => {}
        }
        Next::Stay
    }

    fn type_letter(&mut self, letter: char) {
        if self.filter.chars().count() < FILTER_LIMIT {
            self.filter.push(letter);
        }
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let areas = Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(2)]);
        let [head, body, foot] = areas.areas(frame.area());
        frame.render_widget(self.head(), head);
        let shown = self.overview.sorted(self.order, &self.filter);
        let names = shown.iter().map(|deployment| deployment.name.chars().count()).max().unwrap_or(0);
        let columns = columns_within(usize::from(body.width), names);
        let widths = columns.iter().map(|column| match column {
            0 => Constraint::Min(width(0, names)),
            other => Constraint::Length(width(*other, names)),
        });
        let titles = columns.iter().map(|column| cell(*column, HEAD[*column].to_owned()));
        let table = Table::new(shown.iter().map(|deployment| row(deployment, &columns)), widths)
            .header(Row::new(titles).style(Modifier::BOLD))
            .row_highlight_style(Modifier::REVERSED);
        let chosen = self.selected.selected().and_then(|at| shown.get(at.min(shown.len().saturating_sub(1))));
        let foot_text = self.foot(chosen.copied());
        frame.render_widget(foot_text, foot);
        frame.render_stateful_widget(table, body, &mut self.selected);
    }

    fn head(&self) -> Line<'static> {
        let Overview { status, prefix, version, deployments } = &self.overview;
        let calls = self.overview.sum(|deployment| deployment.calls_per_second);
        let errors = self.overview.sum(|deployment| deployment.errors_per_second);
        let count = deployments.len();
        let text = format!(
            "metagate {version} · {prefix} · {status} · {count} deployments · {calls:.1} calls/s · {errors:.1} errors/s"
        );
        Line::styled(plain_line(&text), Modifier::BOLD)
    }

    /// What is known of the chosen deployment, or why the figures are old; and the keys.
    fn foot(&self, chosen: Option<&Deployment>) -> Text<'static> {
        let about = match (&self.fault, chosen) {
            (Some(fault), _) => Line::styled(plain_line(&format!("old figures: {fault}")), Color::Red),
            (None, Some(Deployment { name, error: Some(error), .. })) => {
                Line::styled(plain_line(&format!("{name}: {} ({})", error.message, error.code)), Color::Red)
            }
            (None, Some(Deployment { name, last_used, .. })) => Line::raw(last_used.as_ref().map_or_else(
                || format!("{name}: not called since the gateway started"),
                |at| plain_line(&format!("{name}: last call {at}")),
            )),
            (None, None) => Line::default(),
        };
        let keys = if self.typing || !self.filter.is_empty() {
            format!("filter: {}{}", self.filter, if self.typing { "▏ Enter keeps it, Esc removes it" } else { "" })
        } else {
            "q leave · sort: c calls  e errors  t p99  m memory  n name · / filter · ↑↓ choose".to_owned()
        };
        Text::from(vec![about, Line::styled(keys, Modifier::DIM)])
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
}

/// The columns in the order in which they are left out where the terminal is narrow, the last ones first.
const BY_IMPORTANCE: [usize; HEAD.len()] = [0, 4, 5, 7, 1, 3, 8, 10, 11, 9, 6, 2];

/// The columns that a line of this width has room for, in the order of the table.
fn columns_within(line: usize, longest_name: usize) -> Vec<usize> {
    let mut room = line;
    let fits = |column: &usize| {
        let needed = usize::from(width(*column, longest_name)) + 1;
        room = room.saturating_sub(needed);
        *column == 0 || room > 0
    };
    let mut columns: Vec<usize> = BY_IMPORTANCE.into_iter().take_while(fits).collect();
    columns.sort_unstable();
    columns
}

/// The width of a column.
fn width(column: usize, longest_name: usize) -> u16 {
    let width = match column {
        0 => longest_name.clamp(4, 64),
        1 => 8,
        _ => HEAD[column].len().max(7),
    };
    u16::try_from(width).unwrap_or(64)
}

fn row(deployment: &Deployment, columns: &[usize]) -> Row<'static> {
    let cells = deployment.cells().into_iter().enumerate().filter(|(column, _)| columns.contains(column));
    let cells = cells.map(|(column, text)| {
        let colour = match (column, text.as_str()) {
            (1, "ready") => Some(Color::Green),
            (1, "failed") => Some(Color::Red),
            (1, _) => Some(Color::Yellow),
            (5, "0.00" | "-") => None,
            (5, _) => Some(Color::Red),
            _ => None,
        };
        let style = colour.map_or_else(Style::new, |colour| Style::new().fg(colour));
        cell(column, text).style(style)
    });
    Row::new(cells)
}

/// Texts are on the left, figures on the right.
fn cell(column: usize, text: String) -> Cell<'static> {
    let alignment = if column < 2 { Alignment::Left } else { Alignment::Right };
    Cell::from(Text::from(text).alignment(alignment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_has_the_columns_that_matter_most() {
        assert_eq!(columns_within(200, 10), (0..HEAD.len()).collect::<Vec<_>>());
        assert_eq!(columns_within(60, 10), [0, 1, 3, 4, 5, 7]);
        assert_eq!(columns_within(5, 10), [0]);
    }
}
