//! What differs, for callers, between the parameters of two functions.

use crate::deployment::{Parameter, ParameterKind};
use crate::describe::difference::change::{Changes, Effect};
use crate::describe::difference::covered::{Covered, Of};
use crate::describe::difference::covering::Comparison;

/// Adds the differences between the parameters of a function before and after.
pub(super) fn compare(old: &[Parameter], new: &[Parameter], changes: &mut Changes) {
    let (before, after) = (Listed(old), Listed(new));
    for (at, one) in old.iter().enumerate() {
        match after.same_as(one, at) {
            Some((there, same)) => {
                of_parameter(one, same, at, changes);
                let (was, is) = (before.place(at), after.place(there));
                if let (Some(was), Some(is)) = (was, is)
                    && was != is
                {
                    changes.add(Effect::Breaks, format!("{}: was argument {was}, is argument {is}", title(one, at)));
                }
            }
            None => gone(one, at, (before, after), changes),
        }
    }
    for (at, one) in new.iter().enumerate() {
        if before.same_as(one, at).is_none() && before.renamed(after, at).is_none() {
            is_new(one, at, before, changes);
        }
    }
}

/// The parameters of a function, in their order.
#[derive(Clone, Copy)]
struct Listed<'a>(&'a [Parameter]);

impl<'a> Listed<'a> {
    /// The parameter that is the same as one of the other function: that of its name; that of its place, where one has
    /// no name; of those that take all further arguments, that of its kind.
    fn same_as(self, other: &Parameter, at: usize) -> Option<(usize, &'a Parameter)> {
        let takes_more = |kind| matches!(kind, ParameterKind::Rest | ParameterKind::RestByName);
        let is_same = |(place, one): &(usize, &Parameter)| match (takes_more(one.kind), takes_more(other.kind)) {
            (true, true) => one.kind == other.kind,
            (false, false) if one.name.is_empty() || other.name.is_empty() => *place == at,
            (false, false) => one.name == other.name,
            _ => false,
        };
        self.0.iter().enumerate().find(is_same)
    }

    /// The number of the argument that reaches a parameter by order, from 1.
    fn place(self, at: usize) -> Option<usize> {
        let ordered = |one: &&Parameter| one.kind == ParameterKind::Positional;
        let is_ordered = self.0.get(at).is_some_and(|one| ordered(&one));
        is_ordered.then(|| self.0[..=at].iter().filter(ordered).count())
    }

    /// The parameter here that is reached by the same argument as that one of the other function, if neither function
    /// has the other's name.
    fn renamed(self, other: Listed<'_>, at: usize) -> Option<&'a Parameter> {
        let place = other.place(at)?;
        let (here, one) = self.0.iter().enumerate().find(|(here, _)| self.place(*here) == Some(place))?;
        let stands_alone = other.same_as(one, here).is_none() && self.same_as(&other.0[at], at).is_none();
        stands_alone.then_some(one)
    }

    /// The parameter that takes all further arguments of a kind.
    fn rest(self, kind: ParameterKind) -> Option<&'a Parameter> {
        self.0.iter().find(|one| one.kind == kind)
    }

    /// The parameters that take the arguments of another one of this kind, where there is none of its own: by order and
    /// by name, as far as arguments reach it so. `None` in place of one that is not there.
    fn in_place_of(self, one: &Parameter) -> Vec<Option<&'a Parameter>> {
        let by_order = (one.kind == ParameterKind::Positional).then(|| self.rest(ParameterKind::Rest));
        by_order.into_iter().chain([self.rest(ParameterKind::RestByName)]).collect()
    }
}

/// Adds that a parameter is new. It may take arguments that one for further arguments took before.
fn is_new(one: &Parameter, at: usize, before: Listed<'_>, changes: &mut Changes) {
    let what = title(one, at);
    if one.required {
        return changes.add(Effect::Breaks, format!("{what} is new and required"));
    }
    changes.add(Effect::Compatible, format!("{what} is new and optional"));
    if one.kind == ParameterKind::RestByName {
        return;
    }
    for took in before.in_place_of(one).into_iter().flatten() {
        let taken = format!("{what} takes what {} took", title(took, 0));
        // Of arguments by order in one by name there is a list.
        let covered = match one.kind {
            ParameterKind::Rest => Covered::Yes,
            _ => Comparison::of(Of::Arguments).covers(&one.schema, &took.schema),
        };
        match covered {
            Covered::Yes => changes.add(Effect::Unclear, taken),
            covered => changes.add_covered(&taken, covered, Of::Arguments),
        }
    }
}

fn gone(one: &Parameter, at: usize, (before, after): (Listed<'_>, Listed<'_>), changes: &mut Changes) {
    let what = title(one, at);
    if let Some(new) = after.renamed(before, at) {
        changes.add(Effect::Breaks, format!("{what} is called {} now, which breaks calls by name", new.name));
        return of_parameter(one, new, at, changes);
    }
    let heirs = match one.kind {
        ParameterKind::Rest | ParameterKind::RestByName => vec![None],
        ParameterKind::Positional | ParameterKind::KeywordOnly => after.in_place_of(one),
    };
    let fits = |heir: &Option<&Parameter>| {
        heir.is_some_and(|heir| {
            !matches!(Comparison::of(Of::Arguments).covers(&heir.schema, &one.schema), Covered::No(_))
        })
    };
    let effect = if heirs.iter().all(fits) { Effect::Unclear } else { Effect::Breaks };
    changes.add(effect, format!("{what} is gone"));
}

/// Adds what differs between two parameters that are the same one.
fn of_parameter(old: &Parameter, new: &Parameter, at: usize, changes: &mut Changes) {
    let what = title(new, at);
    if new.required && !old.required {
        changes.add(Effect::Breaks, format!("{what}: was optional, is required"));
    }
    if old.kind == ParameterKind::Positional && new.kind == ParameterKind::KeywordOnly {
        changes.add(Effect::Breaks, format!("{what}: was an argument by order too, is one by name only"));
    }
    if old.kind == ParameterKind::Rest && old.name != new.name {
        let (was, is) = (title(old, at), title(new, at));
        changes.add(Effect::Breaks, format!("{was} is called {is} now, which breaks calls by name"));
    }
    changes.add_covered(&what, Comparison::of(Of::Arguments).covers(&new.schema, &old.schema), Of::Arguments);
}

pub(super) fn title(one: &Parameter, at: usize) -> String {
    match (one.kind, one.name.as_str()) {
        (ParameterKind::Rest, name) => format!("parameter *{name}"),
        (ParameterKind::RestByName, name) => format!("parameter **{name}"),
        (_, "") => format!("parameter {}", at + 1),
        (_, name) => format!("parameter {name}"),
    }
}
