//! Lists that a template may change, as Python's are.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};

use super::text::to_repr;
use crate::error::{ErrorKind, raise, type_error};
use crate::fuel::{charge, check_depth};

/// A list made by a template's `[...]` or from JSON. The lists that filters make cannot be changed.
///
/// Once it has been put into another list it cannot be changed any more either: a chain of lists that grows at its far end could
/// become too deep to be freed, which the engine does by recursion.
pub(crate) struct List {
    items: Mutex<Vec<Value>>,
    is_inside: AtomicBool,
}

impl List {
    pub(crate) fn value(items: Vec<Value>) -> Value {
        Value::from_object(Self { items: Mutex::new(items), is_inside: AtomicBool::new(false) })
    }

    fn items(&self) -> MutexGuard<'_, Vec<Value>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `item` is inside a list from now on, and refuses a list inside itself: nothing could print it or free it.
    fn take_in(self: &Arc<Self>, state: &State<'_, '_>, item: &Value) -> Result<(), Error> {
        check_depth(state, item, &|inner| {
            inner.downcast_object_ref::<Self>().is_some_and(|inner| {
                inner.is_inside.store(true, Ordering::Relaxed);
                std::ptr::eq(inner, &raw const **self)
            })
        })
        .and_then(|holds| if holds { Err(raise(ErrorKind::Limit, "a list cannot be put into itself")) } else { Ok(()) })
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items().iter().map(to_repr)).finish()
    }
}

/// The methods that change a list.
const CHANGES: [&str; 7] = ["append", "insert", "extend", "pop", "remove", "clear", "reverse"];

/// Python's index: negative ones count from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let items = self.items();
        place(key.as_i64()?, items.len()).map(|index| items[index].clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items().len())
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if self.is_inside.load(Ordering::Relaxed) && CHANGES.contains(&method) {
            return Err(type_error(
                "a list that was put into another list cannot be changed any more; change it before",
            ));
        }
        let missing = || type_error(format!("`{method}` found no such item in the list"));
        match method {
            "append" => {
                let (item,): (Value,) = from_args(args)?;
                self.take_in(state, &item)?;
                self.items().push(item);
            }
            "insert" => {
                let (index, item): (i64, Value) = from_args(args)?;
                self.take_in(state, &item)?;
                let mut items = self.items();
                let length = items.len();
                state.consume_fuel(length as u64 / 64)?;
                let index = if index < 0 { place(index, length).unwrap_or(0) } else { (index as usize).min(length) };
                items.insert(index, item);
            }
            "extend" => {
                let (others,): (Value,) = from_args(args)?;
                let others: Vec<Value> = others.try_iter()?.collect();
                for item in others {
                    state.consume_fuel(1)?;
                    self.take_in(state, &item)?;
                    self.items().push(item);
                }
            }
            "pop" => {
                let (index,): (Option<i64>,) = from_args(args)?;
                let mut items = self.items();
                let index = place(index.unwrap_or(-1), items.len()).ok_or_else(missing)?;
                state.consume_fuel((items.len() - index) as u64 / 64)?;
                return Ok(items.remove(index));
            }
            "remove" => {
                let (item,): (Value,) = from_args(args)?;
                charge(state, &Value::from_dyn_object(self.clone()))?;
                let mut items = self.items();
                let index = items.iter().position(|other| *other == item).ok_or_else(missing)?;
                items.remove(index);
            }
            "clear" => {
                let () = from_args(args)?;
                self.items().clear();
            }
            "reverse" => {
                let () = from_args(args)?;
                state.consume_fuel(self.items().len() as u64 / 64)?;
                self.items().reverse();
            }
            "copy" => {
                let () = from_args(args)?;
                state.consume_fuel(self.items().len() as u64 / 4)?;
                return Ok(Self::value(self.items().clone()));
            }
            _ => return Err(Error::from(Engine::UnknownMethod)),
        }
        Ok(Value::from(()))
    }
}
