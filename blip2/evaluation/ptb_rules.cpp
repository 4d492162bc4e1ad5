#include "blip2/evaluation/ptb_rules_internal.h"

namespace blip2 {
namespace {

using enum PtbEdit;

constexpr PtbRule kRules[] = {
    // Words that are split, or kept whole though they hold symbols.
    {R"(c\+\+|[cCfF]#)"},
    {.pattern = R"(cannot)", .given_back = 3},
    {.pattern = R"('twas)", .given_back = 3},
    {.pattern = R"('tis|gonna|gotta|lemme|gimme|wanna)", .given_back = 2},
    {R"({markup})", no_break},
    {R"(&(MD|mdash|ndash);|[\u0096\u0097\u2013-\u2015])", skip},
    {R"(&amp;)", ampersand},
    {R"(&(HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);)"},
    {.pattern = R"({word})",
     .edit = no_soft_hyphen,
     .follows = R"({clitic})",
     .before = u"'\u0092\u2019&"},
    {.pattern = R"([A-Za-z\u00ad]*[A-MO-Za-mo-z]\u00ad*)",
     .edit = no_soft_hyphen,
     .follows = R"({not})",
     .before = u"nN"},
    {R"({word})", no_soft_hyphen},
    {R"({apostrophe_word})"},
    {.pattern = R"(y{apostrophe})", .follows = R"({alpha})", .given_back = 1},

    // Addresses and names of the net.
    {R"(https?://{url_inside}+{url_end})"},
    {R"((www\.({url_end}+\.)+[a-zA-Z]{2,4}|({host_label}+\.)+(com|net|org|edu)){url_path}?)"},
    {R"((&lt;|<)?[a-zA-Z0-9]{mail_name}*@({mail_label}+\.)*{mail_label}+(&gt;|>)?)"},
    {R"(@[a-zA-Z_][a-zA-Z_0-9]*|#{letter}+)"},

    // Clitics, if no letter follows.
    {.pattern = R"({clitic}|{not})", .edit = quotes, .follows = R"([^A-Za-z])", .given_back = 1},

    // Numbers and money.
    {R"({digit}{1,2}[-/]{digit}{1,2}[-/]{digit}{2,4})"},
    {R"([-+]?({digit}+|{digit}*([.:,\u00ad\u066b\u066c]{digit}+)+))", no_soft_hyphen},
    {R"([\u207a\u207b\u208a\u208b]?([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+))"},
    {R"(({digit}{1,4}[- \u00a0])?{digit}{1,4}(\\?/|\u2044){digit}{1,4})", no_break},
    {R"([\u00bc-\u00be\u2153-\u215e])", fraction},
    {R"(-(RRB|LRB|RCB|LCB|RSB|LSB)-|C\.D\.s|pro-|anti-|S(&|&amp;)P-500|S(&|&amp;)Ls)"
     R"(|Cap{apostrophe}n|c{apostrophe}est)",
     ampersand},
    {R"({slashed}(\\?/{slashed}){1,2})"},
    {R"([A-Z]*\$|#)"},
    {R"([\u0080\u00a2-\u00a5\u060b\u0e3f\u20a0\u20a4\u20ac\uffe0\uffe1\uffe5\uffe6])", currency},

    // Abbreviations. A letter before a sentence's usual first words ends a sentence.
    {.pattern = R"([A-Za-z])", .follows = R"(\.{space}+({opener}|{markup}){space})", .length = 1},
    {.pattern = R"({before_number}\.)", .follows = R"({digit})", .given_back = 1},
    {.pattern = R"({before_number}\.)", .follows = R"({space}{digit})", .given_back = 2},
    {.pattern = R"((pt[eyEY]|co)\.)", .follows = R"({blank}(ltd|lim))", .given_back = 4},
    {.pattern = R"({ending}\.)", .follows = R"({any}{any})", .given_back = 2},
    {R"({ending}\.)"},
    {R"(({title}|{initials})\.)"},
    {.pattern = R"({initials})", .follows = R"({space})", .given_back = 1},
    {.pattern = R"({apostrophe}[0-9][0-9])", .follows = R"({space})", .given_back = 1},
    {.pattern = R"({alnum}+(\.{alnum}+)*\.{extension})",
     .follows = R"({space}|[.?!,])",
     .given_back = 1},
    {.pattern = R"({word}\.)", .edit = no_soft_hyphen, .follows = R"({comma})", .given_back = 1},
    {R"((\([0-9]{2,3}\)[ \u00a0]?|(\+\+?)?([0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0]))"
     R"([0-9]{3,4}[- \u00a0]?[0-9]{3,5})"
     R"(|((\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5})",
     no_break},

    // Marks.
    {R"("|&quot;|\u007f)", skip},
    {.pattern = R"(<|&lt;)", .edit = fixed, .text = "<"},
    {.pattern = R"(>|&gt;)", .edit = fixed, .text = ">"},
    {.pattern = R"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])",
     .edit = brackets,
     .follows = R"([^A-Za-z0-9])",
     .given_back = 1},
    {R"([\^x=~<>]\.\[\^x=~<>\]|[-\^x=~<>']_[-\^x=~<>']|\([-\^x=~<>'][_.]?[-\^x=~<>']\))"
     R"(|\([\^x=~<>']-[\^x=~<>'`]\))",
     brackets},
    {.pattern = R"(\{)", .edit = fixed, .text = "-lcb-"},
    {.pattern = R"(\})", .edit = fixed, .text = "-rcb-"},
    {.pattern = R"(\[)", .edit = fixed, .text = "-lsb-"},
    {.pattern = R"(\])", .edit = fixed, .text = "-rsb-"},
    {.pattern = R"(\()", .edit = fixed, .text = "-lrb-"},
    {.pattern = R"(\))", .edit = fixed, .text = "-rrb-"},
    {R"(-{1,4})", skip},
    {R"(-+)"},
    {R"(\.{3,5}|(\.[ \u00a0]){2,4}\.|[\u0085\u2026])", skip},
    {R"(@+|#+|_+|\*+|(\\\*){1,3}|[,;:\u3001]|[?!]+|=|/)"},
    {R"([.\u00a1\u00bf\u037e\u0589\u061f\u06d4\u0700-\u0702\u07fa\u3002])"},

    // Words with hyphens and the like.
    {.pattern = R"({hyphened}\.)",
     .edit = no_soft_hyphen,
     .follows = R"({comma})",
     .given_back = 1},
    {R"({hyphened})", no_soft_hyphen},
    {.pattern = R"({thing}\.)", .follows = R"({comma})", .given_back = 1},
    {R"({thing})"},
    {.pattern = R"({firm}\.)", .edit = ampersand, .follows = R"({comma})", .given_back = 1},
    {R"({firm})", ampersand},

    // Quotes, clitics before letters, symbols, space.
    {.pattern = R"(')",
     .edit = skip,
     .follows = R"([A-Za-z][^ \u0009\u000a\u000d\u00a0])",
     .given_back = 2},
    {R"({clitic}|{not})", quotes},
    {R"({apostrophe}|''|[`\u2018-\u201c\u201d\u0091-\u0094\u201e\u201f\u2039\u203a\u00ab\u00bb]{1,2})",
     quotes},
    {R"(<<|>>)"},
    {R"({symbol})"},
    {R"(\u0000|{blank}+|[\u200b\u200e-\u200f\ufeff])", skip},
    {R"(\u000a)", newline},
    {R"(&nbsp;|{any})", skip},
};

// Names, in the order of what they need.
constexpr std::pair<std::string_view, std::string_view> kPatterns[] = {
    {"letter", R"(({alpha}|&[aeiouAEIOU](acute|grave|uml);|{mark}))"},
    {"word", R"({letter}({letter}|{digit})*([.!?]{letter}({letter}|{digit})*)*)"},
    {"markup", R"(<([!?][A-Za-z\-][^>\u000a\u000d]*)"
               R"(|[A-Za-z]{tag_name}*( +([A-Za-z]{tag_name}*|[A-Za-z]{tag_name}* *= *)"
               R"(('[^'\u000a]*'|"[^"\u000a]*")))* */?|/[A-Za-z]{tag_name}*) *>)"},
    {"tag_name", R"([A-Za-z0-9_:.\-])"},
    {"any", R"([\u0000-\uffff])"},
    {"blank", R"([ \u0009\u00a0\u2000-\u200a\u3000])"},
    {"space", R"([ \u0009\u00a0\u2000-\u200a\u3000\u000a])"},
    {"comma", R"([,;:\u3001])"},

    {"apostrophe", R"((['\u0092\u2019]|&apos;))"},
    {"apostrophe_like", R"(({apostrophe}|[`\u0091\u2018\u201b]))"},
    {"clitic", R"({apostrophe}([msdMSD]|re|ve|ll))"},
    {"not", R"(n{apostrophe_like}t)"},
    {"apostrophe_word",
     R"({apostrophe}n{apostrophe}?|[lLdDjJ]{apostrophe}|(Dunkin|somethin|ol){apostrophe})"
     R"(|{apostrophe}(em|[2-9]0s|till?|cause))"
     R"(|[A-HJ-XZn]{apostrophe_like}{alpha}{2}{alpha}*)"
     R"(|{alpha}{alpha}*[aeiouyAEIOUY]{apostrophe_like}[aeiouA-Z]{alpha}*)"
     R"(|cont'd\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l|O{apostrophe_like}o)"},

    {"url_inside", R"([^ \u0009\u000a\u000c\u000d"<>|()\{\}])"},
    {"url_end", R"([^ \u0009\u000a\u000c\u000d"<>|.!?()\{\},\-])"},
    {"url_path", R"((/[^ \u0009\u000a\u000c\u000d"<>|()]+{url_end}))"},
    // The range from , to _ takes capitals and digits out, as in the original.
    {"host_label", R"([^ \u0009\u000a\u000c\u000d"`'<>|.!?()\{\},-_$])"},
    {"mail_name", R"([^ \u0009\u000a\u000c\u000d"<>|()\u00a0\{\}])"},
    {"mail_label", R"([^ \u0009\u000a\u000c\u000d"<>|()\{\}.\u00a0])"},
    {"extension",
     R"((bat|bmp|c|class|cgi|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png)"
     R"(|ppt|ps|py|sql|tar|txt|wav|x|xml|zip))"},

    {"slashed", R"([A-Za-z0-9]+(-[A-Za-z]+){0,2})"},
    {"hyphen", R"([\-_\u058a\u2010\u2011])"},
    {"thing_part", R"(([dDoOlL]{apostrophe_like}{alnum_unit})?{alnum_unit}+)"},
    {"thing", R"({thing_part}({hyphen}{thing_part})*)"},
    {"hyphened", R"([A-Za-z0-9][A-Za-z0-9.,\u00ad]*(-([A-Za-z0-9\u00ad]+|{dotted}\.))+)"},
    {"firm", R"([A-Z]+(([+&]|&amp;)[A-Z]+)+)"},
    {"alnum", R"(({letter}|{digit}))"},

    {"country", R"((Canada|Sino|Korean|EU|Japan|non)-U\.S|U\.S\.-(U\.K|U\.S\.S\.R))"},
    {"initials", R"(([A-Za-z](\.[A-Za-z])*|{country}))"},
    {"dotted", R"(([A-Za-z](\.[A-Za-z])+|{country}))"},
    {"opener",
     R"(([A]|[A](bout|ccording|dditionally|fter|n|s|t)|[B]ut|[E]arlier|[H](e|er|ere|owever)|[I](f|n|t))"
     R"(|[L]ast|[M](any|ore|r\.|s\.)|[N]ow|[O](nce|ne|ther|ur)|[S](he|ince|o|ome|uch))"
     R"(|[T]h(at|e|eir|en|ere|ese|ey|is)|[W](e|hen|hile|hat)|[Y](et|ou)))"},
    {"before_number", R"((ca|figs?|prop|nos?|art|bldg|pp|op))"},
    // A sentence may go on or end after these: months, days, states, firms, others.
    {"ending",
     R"((Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tues?|Wed|Thu|Thurs|Fri)"
     R"(|Ala|Ariz|[A]z|[A]rk|Calif|Colo|Conn|Ct|Dak|[D]el|Fla|Ga|[I]ll|Ind|Kans?|Ky|[L]a|[M]ass|Md)"
     R"(|Mich|Minn|[M]iss|Mo|Mont|Neb|Nev|Okla|[O]re|[P]a|Penn|Tenn|[T]ex|Va|Vt|[W]ash|Wisc?|Wyo)"
     R"(|Inc|Cos?|Corp|Pp?t[ye]s?|Ltd|Plc|Rt|Bancorp|Bhd|Assn|Univ|Intl|Sys|tel|est|ext|sq)"
     R"(|Jr|Sr|Bros|(Ed|Ph)\.D|Blvd|Rd|Esq|etc|al|seq|Bldg))"},
    // A sentence goes on after these: titles, and the first part of a name.
    {"title",
     R"((Mr|Mrs|Ms|[M]iss|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt)"
     R"(|Cpl|Pvt|Capt|Ste?|Ave|Pres|Lieut|Hon|Brig|Co?mdr|Pfc|Spc|Supts?|Det|Mt|Ft|Adj|Adv|Asst)"
     R"(|Assoc|Ens|Insp|Mlle|Mme|Msgr|Sfc|vs|Alex|Wm|Jos|Cie|a\.k\.a|cf|TREAS|Ph|Invt|Elec|Natl)"
     R"(|M[ft]g|Dept))"},

    {"symbol",
     R"([+%&~\^|\\\u00a6-\u00a9\u00ac\u00ae-\u00ba\u00d7\u00f7\u0387\u05be\u05c0\u05c3\u05c6\u05f3)"
     R"(\u05f4\u0600-\u0603\u0606-\u060a\u060c\u0614\u061b\u061e\u066a\u066d\u0703-\u070d)"
     R"(\u07f6-\u07f8\u0964\u0965\u0e4f\u1fbd\u2016\u2017\u2020-\u2023\u2030-\u2038\u203b)"
     R"(\u203e-\u2042\u2044\u207a-\u207f\u208a-\u208e\u2100-\u214f\u2190-\u2bff\u3012\u30fb)"
     R"(\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65])"},
};

}  // namespace

std::span<const PtbRule> ptb_rules() {
  return kRules;
}

PatternNames ptb_names() {
  PatternNames names;
  for (const auto& [name, pattern] : kPatterns) names.patterns.emplace(name, pattern);
  names.sets = {{"alpha", ptb_letters()},
                {"mark", ptb_marks()},
                {"digit", ptb_digits()},
                {"alnum_unit", ptb_letters() | ptb_digits()}};
  return names;
}

}  // namespace blip2
