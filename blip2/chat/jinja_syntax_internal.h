#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace blip2 {

struct JinjaExpression;
using JinjaExpressionPtr = std::unique_ptr<JinjaExpression>;

// The arguments of a call, a filter or a test.
struct JinjaArgumentList {
  std::vector<JinjaExpressionPtr> positional;
  std::vector<std::pair<std::string, JinjaExpressionPtr>> named;
  JinjaExpressionPtr spread, spread_named;  // *values, **values; nullptr: none
};

struct JinjaExpression {
  enum class Kind {
    constant,   // constant
    name,       // name
    list,       // parts
    tuple,      // parts
    dict,       // parts: key, value, key, value, …
    member,     // parts[0].name
    place,      // parts[0][parts[1]]
    slice,      // parts[0][parts[1]:parts[2]:parts[3]], each of the three may be nullptr
    call,       // parts[0](arguments)
    filter,     // parts[0] | name(arguments); within a filter block parts[0] is nullptr
    test,       // parts[0] is name(arguments)
    negate,     // not parts[0]
    minus,      // -parts[0]
    plus,       // +parts[0]
    both,       // parts[0] and parts[1]
    either,     // parts[0] or parts[1]
    binary,     // parts[0] name parts[1]
    compare,    // parts[0] names[0] parts[1] names[1] parts[2] …
    condition,  // parts[1] if parts[0] else parts[2], which may be nullptr
  };
  Kind kind;
  int line;
  std::string name = {};
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string> constant = nullptr;
  std::vector<JinjaExpressionPtr> parts = {};
  std::vector<std::string> names = {};
  JinjaArgumentList arguments = {};
  int height = 1;  // of the tree below it
};

// What a value is given to: a name, several of them, or a member of a namespace.
struct JinjaTarget {
  std::vector<std::string> names;
  bool unpacks = false;  // a list of names, in each of which one item goes
  std::string member;    // of the namespace names[0]; empty: none
};

struct JinjaParameter {
  std::string name;
  JinjaExpressionPtr otherwise;  // the default; nullptr: none
};

struct JinjaStatement;
using JinjaBlock = std::vector<JinjaStatement>;

struct JinjaBranch {
  JinjaExpressionPtr test;  // nullptr: else
  JinjaBlock body;
};

struct JinjaStatement {
  enum class Kind {
    text,        // name: the text
    output,      // value
    branches,    // branches
    loop,        // for target in value if test: body, else: otherwise
    set,         // target = value
    set_block,   // target = body, filtered by value if there is one
    macro,       // name, parameters, body
    call_block,  // value is a call; body is what caller() gives, with parameters
    filter,      // value is a filter of body
    scope,       // assignments, body: with and generation
    leave,       // break
    next,        // continue
  };
  Kind kind;
  int line;
  std::string name = {};
  JinjaTarget target = {};
  JinjaExpressionPtr value = {}, test = {};
  JinjaBlock body = {}, otherwise = {};
  std::vector<JinjaBranch> branches = {};
  std::vector<JinjaParameter> parameters = {};
  std::vector<std::pair<JinjaTarget, JinjaExpressionPtr>> assignments = {};
  bool takes_more = false, takes_named = false;  // the macro reads varargs, kwargs
};

// Parses a template as transformers sets Jinja up: trim_blocks, lstrip_blocks, loop controls and
// {% generation %}. `where` names the template in messages. Error with the line for what is no
// template, for tags that would read other files and for parts that are nested too deeply.
JinjaBlock parse_jinja(const std::string& source, const std::string& where);

}  // namespace blip2
