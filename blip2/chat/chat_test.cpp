#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/chat/chat_template.h"
#include "blip2/chat/jinja_template_internal.h"

namespace blip2 {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ChatTemplateSource source(std::string text) {
  return {
      std::move(text), "model/chat_template.jinja", {{"bos_token", "<s>"}, {"eos_token", "</s>"}}};
}

// What a template writes without messages.
std::string written(const std::string& text, const TemplateLimits& limits = {}) {
  return ChatTemplate(source(text), limits).apply({}).text();
}

std::string fault(const std::string& text, const TemplateLimits& limits = {}) {
  try {
    return "no error but: " + written(text, limits);
  } catch (const Error& error) {
    return error.what();
  }
}

constexpr char kChatMl[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

TEST(ChatTemplate, WritesADialogue) {
  const ChatTemplate chat(source(kChatMl));
  const std::vector<ChatMessage> turns{{"user", "hi"}, {"assistant", "yes"}};
  EXPECT_EQ(chat.apply(turns).text(),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
            "<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>assistant\n");
  const std::vector<ChatMessage> given{{"system", "s"}, {"user", "u"}};
  ChatChoices closed;
  closed.add_generation_prompt = false;
  EXPECT_EQ(chat.apply(given, closed).text(),
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n");
  EXPECT_EQ(text_behind_answer(chat), "<|im_end|>\n");
}

TEST(ChatTemplate, KnowsWhatWasTyped) {
  const ChatTemplate chat(source(
      "{{ bos_token }}{% for m in messages %}<u>{{ (m.content | trim).split(' ')[0] ~ '</u>' }}"
      "{{ m.content | upper | replace('B', '<x>') }}{% endfor %}"));
  Prompt words("ask ");
  words.add_plain(" </u>b");
  const ChatMessage turn{"user", words};
  const Prompt prompt = chat.apply(std::span(&turn, 1));
  EXPECT_EQ(prompt.text(), "<s><u>ask</u>ASK  </U><x>");
  ASSERT_EQ(prompt.plain_parts().size(), 1u);
  EXPECT_EQ(prompt.text().substr(prompt.plain_parts()[0].begin), " </U><x>");
  EXPECT_TRUE(prompt.is_whole());
  EXPECT_EQ(prompt.instruction().text(), "ask  </u>b");
}

TEST(ChatTemplate, ControlsWhiteSpaceAsTransformersDoes) {
  EXPECT_EQ(written("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(written("a  {{- 1 -}}  b {{ 2 }}\n"), "a1b 2");
  EXPECT_EQ(written("a\n  {%+ if true %}b{% endif %}"), "a\n  b");
  EXPECT_EQ(written("{% if true +%}\nb{% endif %}{# c #}\nd{#- e -#} \n f"), "\nbdf");
  EXPECT_EQ(written("{% raw %}{{ x }}{% endraw %}\r\nb\rc"), "{{ x }}b\nc");
}

TEST(ChatTemplate, ComputesAsPython) {
  EXPECT_EQ(written("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1e16 }}"),
            "3 -4 2 3.5 1024 1e+16");
  EXPECT_EQ(written("{{ 1 < 2 < 3 }} {{ not 1 == 2 }} {{ 'a' in 'cat' and 3 not in [1, 2] }}"),
            "True True True");
  EXPECT_EQ(written("{{ [1, 'a\\'b', none, {'k': (1,)}] }}"), "[1, \"a'b\", None, {'k': (1,)}]");
  EXPECT_EQ(written("{{ 'äöü'[::-1] }}{{ 'äöü'[1] }}{{ 'äöü' | length }}{{ [1, 2, 3][-2:] }}"),
            "üöäö3[2, 3]");
  EXPECT_EQ(
      written("{{ 'straße ΣΑΣ'.upper() }} {{ 'ΟΔΟΣ İ'.lower() }} {{ \"it's a dog\".title() }}"),
      "STRASSE ΣΑΣ οδος i̇ It'S A Dog");
  EXPECT_EQ(
      written("{{ ' a  b '.split() }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'abc'.replace('', '-') }}"),
      "['a', 'b']['a,b', 'c']-a-b-c-");
  EXPECT_EQ(written("{{ '%s is %05.1f' % ('pi', 3.14159) }} {{ '{} {0}'.format('x') }}"),
            "pi is 003.1 x x");
}

TEST(ChatTemplate, HasJinjasStatements) {
  EXPECT_EQ(written("{% for x in [3, 1, 2] if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}"
                    "{{ ', ' if not loop.last }}{% else %}none{% endfor %}"),
            "1/2:3, 2/2:2");
  EXPECT_EQ(written("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k ~ v }}"
                    "{% if v == 1 %}{% continue %}{% endif %}!{% break %}{% endfor %}"),
            "a1b2!");
  EXPECT_EQ(written("{% set ns = namespace(n=0) %}{% for i in range(4) %}"
                    "{% set ns.n = ns.n + i %}{% set x = i %}{% endfor %}{{ ns.n }}{{ x }}"),
            "6");
}

TEST(ChatTemplate, HasMacrosAndBlocks) {
  EXPECT_EQ(written("{% macro m(a, b='B') %}({{ a }}{{ b }}{{ caller() if caller }}){% endmacro %}"
                    "{{ m(1) }}{{ m(b=2, a=3) }}{% call m(4) %}c{% endcall %}"),
            "(1B)(32)(4Bc)");
  EXPECT_EQ(written("{% macro m(a, b) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}"
                    "{{ m(*[1, 2, 3], **{'c': 4}) }}{{ m(b=5, *[6]) }}"),
            "12(3,){'c': 4}65(){}");
  EXPECT_EQ(written("{% set t | upper %}a{{ 1 }}{% endset %}{{ t }}"
                    "{% filter replace('o', '0') %}foo{% endfilter %}"
                    "{% with a = 1 %}{{ a }}{% endwith %}{{ a is defined }}"),
            "A1f001False");
  EXPECT_EQ(written("{% generation %}{% set a = 1 %}x{% endgeneration %}{{ a }}"), "x");
}

TEST(ChatTemplate, HasJinjasFilters) {
  EXPECT_EQ(written("{{ {'b': 'é\"<', 'a': [1.0, true, none]} | tojson }}"),
            "{\"b\": \"é\\\"<\", \"a\": [1.0, true, null]}");
  EXPECT_EQ(written("{{ {'a': [1, {}]} | tojson(indent=2) }}"),
            "{\n  \"a\": [\n    1,\n    {}\n  ]\n}");
  EXPECT_EQ(
      written("{{ [{'r': 'a', 'n': 1}, {'r': 'b'}] | selectattr('n', 'defined') | list | length }}"
              "{{ ['b', 'A'] | sort | join('-') }}{{ [1, 2] | map('string') | join }}"),
      "1A-b12");
  EXPECT_EQ(
      written("{{ x | default('d') }}{{ '' | default('e', true) }}{{ x }}{{ x is undefined }}"),
      "deTrue");
  EXPECT_EQ(
      written(
          "{{ 'a\nb\n\nc' | indent(2) }}|{{ ' x ' | trim }}|{{ '4.7' | int }}|{{ 2.5 | round }}"),
      "a\n  b\n\n  c|x|4|2.0");
}

TEST(ChatTemplate, EscapesBesideSafeTextsAsJinjaDoes) {
  EXPECT_EQ(written("{{ '<a>' | safe + '<b>' }}{{ '<a>' ~ ('<b>' | safe) }}{{ '<c>' | e }}"),
            "<a>&lt;b&gt;<a><b>&lt;c&gt;");
  EXPECT_EQ(written("{{ ('<' | safe).join(['&', '&amp;' | safe]) }}{{ ['<' | safe] }}"
                    "{{ (('<a' | safe)[0] + '\"').strip() + '>' }}"),
            "&amp;<&amp;[Markup('<')]<&#34;&gt;");
}

TEST(ChatTemplate, NamesTemplateAndLine) {
  EXPECT_THAT(fault("a\n{{ b + }}"), HasSubstr("model/chat_template.jinja: line 2"));
  EXPECT_THAT(fault("\n\n{{ 'a' | nothing }}"),
              AllOf(HasSubstr("line 3"), HasSubstr("there is no filter 'nothing'")));
  EXPECT_THAT(fault("{% for a in b %}"), HasSubstr("expected {% endfor %}"));
  EXPECT_THAT(fault("{{ 'a }}"), HasSubstr("a string has no end"));
  EXPECT_THAT(fault("{% frob %}"), HasSubstr("there is no tag 'frob'"));
  EXPECT_THAT(fault("{{ a.b }}"), HasSubstr("'a' is undefined"));
  EXPECT_THAT(fault("{{ raise_exception('roles must alternate') }}"),
              HasSubstr("the template refuses this dialogue: roles must alternate"));
  EXPECT_THAT(fault("{{ raise_exception('two\\nlines\\r\\tand more') }}"),
              HasSubstr("refuses this dialogue: two\\nlines\\r\\tand more"));
  EXPECT_THAT(fault(""), HasSubstr("the language model has no chat template"));
  EXPECT_EQ(message_of([] {
              ChatTemplate(ChatTemplateSource{"", "config.json", {}, "the template is empty"});
            }),
            "config.json: the template is empty");
}

TEST(ChatTemplate, RefusesWhatATemplateMayNotHave) {
  for (const char* text :
       {"{{ ''.__class__ }}", "{{ messages.__class__.__mro__ }}", "{{ messages['__class__'] }}",
        "{{ range.__globals__ }}", "{{ namespace(__init__=1) }}"}) {
    EXPECT_THAT(fault(text), HasSubstr("line 1")) << text;
  }
  EXPECT_THAT(fault("{% include 'x' %}"), HasSubstr("would read other files"));
  EXPECT_THAT(fault("{{ [1].append(2) }}"), HasSubstr("may not change a value"));
  EXPECT_THAT(fault("{{ 'x' | attr('y') }}"), HasSubstr("there is no filter 'attr'"));
}

TEST(ChatTemplate, EndsWhatWouldNotEnd) {
  const char* loops[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{{ range(10 ** 9) }}",
      "{{ 'a' * 10 ** 9 }}",
      "{{ ('a' * 10 ** 6) * 10 ** 12 }}",
      "{{ [0] * 10 ** 15 }}",
      "{{ 'x' | indent(10 ** 9) ~ '%999999999d' % 1 }}",
      "{% set ns = namespace(s='aaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}"
      "{{ ns.s }}",
      "{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns.me == [ns.me] }}{{ ns.me.x.y }}",
      "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
      "{% set s = 'a' * 10 ** 7 %}{% set t = s ~ '' %}{% for i in range(99999) %}{{ s == t }}{% "
      "endfor %}",
      "{{ ('a' * 10 ** 6) in ('a' * 5 * 10 ** 5 ~ 'b') }}{{ ('a' * 5 * 10 ** 5 ~ 'b') in 'a' * 10 "
      "** 6 }}",
      "{{ ('a' * 10 ** 6).rfind('b' ~ 'a' * 5 * 10 ** 5) }}",
      "{% set d = {'a' * 10 ** 6: 1} %}{% for i in range(99999) %}{{ ('a' * 10 ** 6) in d }}{% "
      "endfor %}",
      "{{ '{}'.format('a' * 99999) | replace('a', 'b' * 99999) }}"};
  for (const char* text : loops) EXPECT_THAT(fault(text), HasSubstr("line 1")) << text;
  EXPECT_THAT(fault(std::string(100'000, '(')), HasSubstr("("));  // no tag at all: a text
  EXPECT_THAT(fault("{{ " + std::string(100'000, '(')), HasSubstr("{{ has no }}"));
  EXPECT_THAT(fault("{{ " + std::string(100'000, '(') + std::string(100'000, ')') + "}}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(fault("{{ " + std::string(100'000, '-') + "1 }}"), HasSubstr("nested too deeply"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 50'000; ++i) sum += " + 1";
  EXPECT_THAT(fault(sum + " }}"), HasSubstr("nested too deeply"));
  std::string names;
  for (int i = 0; i < 12'000; ++i) names += "{%set a" + std::to_string(i) + "=a%}";
  EXPECT_THAT(fault(names), HasSubstr("more than 4000000 steps"));
  EXPECT_THAT(fault("{{ " + std::string(300, 'a') + " }}"), HasSubstr("a name is longer"));
  std::string ifs;
  for (int i = 0; i < 10'000; ++i) ifs += "{% if 1 %}";
  EXPECT_THAT(fault(ifs), HasSubstr("nested too deeply"));
  EXPECT_THAT(fault("{{ 'abcdef' * 9 }}", {.output = 50}), HasSubstr("more than 50 bytes"));
  EXPECT_THAT(fault("{{ 1 + 1 + 1 }}", {.steps = 5}), HasSubstr("more than 5 steps"));
  EXPECT_THAT(fault("abc", {.source = 2}), HasSubstr("expected a template of 2 bytes"));
}

}  // namespace
}  // namespace blip2
