#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "blip2/base/message_of.h"
#include "blip2/postgres/connection_internal.h"
#include "blip2/postgres/content_bytes_internal.h"
#include "blip2/postgres/remote_place.h"
#include "blip2/postgres/values_internal.h"

namespace blip2 {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace std::string_view_literals;

TEST(PostgresValues, NumbersHaveTheirHighestByteFirst) {
  PostgresValues values;
  values.integer(258).integer(-1).number(1.0).integer(std::optional<std::int64_t>());
  ASSERT_EQ(values.size(), 4u);
  EXPECT_EQ(values[0], "\0\0\0\0\0\0\1\2"sv);
  EXPECT_EQ(values[1], "\xff\xff\xff\xff\xff\xff\xff\xff"sv);
  EXPECT_EQ(values[2], "\x3f\xf0\0\0\0\0\0\0"sv);
  EXPECT_EQ(values[3], std::nullopt);
  EXPECT_EQ(integer_of(*values[0]), 258);
  EXPECT_EQ(integer_of(*values[1]), -1);
  EXPECT_EQ(integer_of("\xff\xff\xff\xfe"), -2);
  EXPECT_EQ(number_of(*values[2]), 1.0);
  EXPECT_EQ(message_of([] { integer_of("\0"sv); }),
            "Postgres: a number of 1 bytes, expected 4 or 8");
  EXPECT_EQ(message_of([] { number_of("abc"); }), "Postgres: a number of 3 bytes, expected 8");
}

TEST(PostgresValues, ListsAndVectors) {
  PostgresValues values;
  values.integers(std::vector<std::int64_t>{3}).integers({}).halves(std::vector<float>{1, -0.5f});
  EXPECT_EQ(values[0], "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\1\0\0\0\1\0\0\0\x8\0\0\0\0\0\0\0\3"sv);
  EXPECT_EQ(values[1], "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\0\1"sv);
  EXPECT_EQ(values[2], "\0\2\0\0\x3c\0\xb8\0"sv);
}

TEST(PostgresValues, TextsThatPostgresCannotStore) {
  PostgresValues values;
  values.text("caf\xc3\xa9").text("a\0b"sv).text("\xff caf\xc3\xa9").bytes("\0\xff"sv);
  EXPECT_EQ(values[0], "caf\xc3\xa9");
  EXPECT_EQ(values[1], "a?b");
  EXPECT_EQ(values[2], "? caf??");
  EXPECT_EQ(values[3], "\0\xff"sv);
}

TEST(PostgresValues, RowsOfCopy) {
  PostgresValues values;
  values.bytes("ab"sv).nothing().bytes(""sv);
  EXPECT_EQ(values.copy_row(), "\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"sv);
  EXPECT_EQ(copy_head().size(), 19u);
  values.clear();
  EXPECT_EQ(values.size(), 0u);
}

TEST(ContentBytes, AreThoseOfTheHexadecimalForm) {
  const ContentHash content{0x0123456789abcdef, 0xfedcba9876543210};
  const std::string bytes = content_bytes(content);
  EXPECT_EQ(bytes, "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"sv);
  EXPECT_EQ(content_of(bytes), content);
  EXPECT_THAT(message_of([] { content_of("short"); }), HasSubstr("has not 16 bytes"));
}

TEST(PostgresUrl, ThatCanBeReadWithoutDoubt) {
  for (const char* url :
       {"postgresql://", "postgres://h/d", "postgresql://u:p%40%2F@h:5432/d?sslmode=require",
        "postgresql:///d?host=/run/postgresql", "postgresql://u@h1:1,h2:2/d",
        "postgresql://u:p?x@h/d", "postgresql://[::1]:5432/d"})
    EXPECT_EQ(message_of([&] { check_postgres_url(url); }), "no error") << url;
  EXPECT_TRUE(names_postgres("postgres://h/d"));
  EXPECT_FALSE(names_postgres("/folder/postgres:/"));
}

TEST(PostgresUrl, ThatLibpqWouldReadInPartsOfThePassword) {
  for (const char* url :
       {"postgresql://u:s@cret@h/d", "postgresql://u:s/cret@h/d", "postgresql://u:cret/d",
        "postgresql://u:cret@h:port/d", "postgresql://u:s%zzcret@h/d", "cret"}) {
    const std::string message = message_of([&] { check_postgres_url(url); });
    EXPECT_THAT(message, HasSubstr("URL of Postgres: cannot be read")) << url;
    EXPECT_THAT(message, Not(HasSubstr("cret"))) << url;
  }
}

TEST(PostgresConnection, NamesTheServerThatIsNotThere) {
  const std::string message =
      message_of([] { PostgresConnection("postgresql://somebody:cret@127.0.0.1:1/d", "1s"); });
  EXPECT_THAT(message, HasSubstr("postgresql://127.0.0.1:1/d: "));
  EXPECT_THAT(message, HasSubstr("Connection refused"));
  EXPECT_THAT(message, Not(HasSubstr("cret")));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace blip2
