#include "blip2/protocols/picture_fetch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "blip2/protocols/public_address_internal.h"
#include "blip2/protocols/remote_picture_internal.h"
#include "blip2/protocols/requests_test.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(PublicAddress, IsNoneOfTheSpecialRanges) {
  for (const char* text :
       {"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
        "192.167.0.1", "169.253.0.1", "223.255.255.255", "198.17.0.1", "198.20.0.1",
        "2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888"}) {
    EXPECT_TRUE(is_public_address(std::string(text))) << text;
  }
  for (const char* text : {"0.0.0.0",
                           "0.1.2.3",
                           "10.0.0.1",
                           "100.64.0.1",
                           "100.127.255.255",
                           "127.0.0.1",
                           "127.255.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.0.0.1",
                           "192.0.2.1",
                           "192.88.99.1",
                           "192.168.0.1",
                           "198.18.0.1",
                           "198.19.255.255",
                           "198.51.100.1",
                           "203.0.113.1",
                           "224.0.0.1",
                           "239.1.1.1",
                           "240.0.0.1",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "::ffff:8.8.8.8",
                           "::ffff:127.0.0.1",
                           "::8.8.8.8",
                           "64:ff9b::8.8.8.8",
                           "fe80::1",
                           "fc00::1",
                           "fd00::1",
                           "fec0::1",
                           "ff02::1",
                           "100::1",
                           "2001::1",
                           "2001:db8::1",
                           "2002:7f00:1::",
                           "3fff::1",
                           "3ffe::1",
                           "fd00:ec2::254",
                           "",
                           "localhost",
                           "8.8.8.8.8",
                           "0x7f.1",
                           "2130706433"}) {
    EXPECT_FALSE(is_public_address(std::string(text))) << text;
  }
}

TEST(AllowedHost, IsListed) {
  const std::vector<std::string> list = {"Example.org", ".cdn.net"};
  for (const char* host : {"example.org", "EXAMPLE.ORG", "a.cdn.net", "a.b.cdn.net"}) {
    EXPECT_TRUE(is_allowed_host(host, list)) << host;
  }
  for (const char* host : {"", "a.example.org", "example.org.evil.com", "cdn.net", ".cdn.net",
                           "acdn.net", "example.or"}) {
    EXPECT_FALSE(is_allowed_host(host, list)) << host;
  }
}

// A folder with media/in.png, secret.png beside it, and links.
class LocalPictures : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "blip2_media_XXXXXX").string();
    top_ = mkdtemp(name.data());
    fs::create_directories(top_ / "media/sub dir");
    for (const char* file : {"media/in.png", "media/sub dir/a+b.png", "secret.png"}) {
      std::ofstream(top_ / file, std::ios::binary) << small_png();
    }
    std::ofstream(top_ / "media/notes.txt") << "no picture";
    fs::create_symlink("../secret.png", top_ / "media/out.png");
    fs::create_symlink(top_ / "secret.png", top_ / "media/far.png");
    fs::create_symlink("in.png", top_ / "media/near.png");
    fs::create_directory_symlink("..", top_ / "media/up");
    fs::create_directory_symlink("media", top_ / "other");
    ASSERT_EQ(mkfifo((top_ / "media/pipe.png").c_str(), 0600), 0);
  }
  void TearDown() override { fs::remove_all(top_); }

  std::string fetched(const std::string& url, const fs::path& root) const {
    PictureRules rules;
    rules.media_root = root;
    PictureSource picture{{}, url, "p"};
    fetch_picture(picture, rules);
    return picture.bytes;
  }
  std::string fault(const std::string& url) const {
    return refusal([&] { fetched(url, top_ / "media"); });
  }

  fs::path top_;
};

TEST_F(LocalPictures, AreReadBelowTheRoot) {
  const std::string base = "file://" + (top_ / "media").string();
  for (const std::string& url :
       {base + "/in.png", base + "/sub%20dir/a+b.png", base + "/sub dir/../in.png",
        base + "/near.png", "FILE://LOCALHOST" + (top_ / "media/in.png").string(),
        std::string("file://in.png"), std::string("file:in.png"),
        std::string("file://sub%20dir/a%2Bb.png")}) {
    EXPECT_EQ(fetched(url, top_ / "media"), small_png()) << url;
  }
  EXPECT_EQ(fetched("file://" + (top_ / "media/in.png").string(), top_ / "other"), small_png());
  EXPECT_EQ(fetched("file://" + (top_ / "other/in.png").string(), top_ / "other/"), small_png());
}

TEST_F(LocalPictures, LieNowhereElse) {
  const std::string base = "file://" + (top_ / "media").string();
  for (const std::string& url :
       {base + "/out.png", base + "/far.png", base + "/up/secret.png", base + "/../secret.png",
        base + "/%2e%2e/secret.png", base + "/no.png", base, base + "/", base + "/pipe.png",
        base + "/sub dir", "file://" + (top_ / "secret.png").string(),
        std::string("file:///etc/passwd"), std::string("file:///dev/zero"),
        std::string("file://../secret.png"), std::string("file:///proc/self/environ"),
        std::string("file://"), std::string("file:"), base + "evil/in.png"}) {
    EXPECT_EQ(fault(url),
              "400 image_not_found p | p: the URL names no picture below the server's media folder")
        << url;
  }
  EXPECT_THAT(fault(base + "/in.png%00.txt"), HasSubstr("invalid_image_url"));
  EXPECT_THAT(fault(base + "/%zz"), HasSubstr("invalid_image_url"));
  EXPECT_THAT(fault(base + "/in.png%2"), HasSubstr("invalid_image_url"));
  EXPECT_THAT(fault(base + "/notes.txt"),
              HasSubstr("expected a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC picture"));
}

TEST_F(LocalPictures, AreBounded) {
  PictureRules rules;
  rules.media_root = top_ / "media";
  rules.max_bytes = 10;
  PictureSource picture{{}, "file://in.png", "p"};
  EXPECT_THAT(refusal([&] { fetch_picture(picture, rules); }),
              HasSubstr("the picture has more than 10 bytes"));
}

std::string remote_fault(const std::string& url, const FetchOptions& options = {}) {
  PictureRules rules;
  rules.hosts = {"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "example.org"};
  PictureSource picture{{}, url, "p"};
  return refusal([&] { fetch_picture(picture, rules, options); });
}

TEST(RemotePictures, AreFetchedFromPublicAddressesAlone) {
  for (const char* url :
       {"https://127.0.0.1/a.png", "https://localhost/a.png", "https://[::1]/a.png",
        "https://0.0.0.0/a.png", "https://2130706433/a.png"}) {
    EXPECT_THAT(remote_fault(url), HasSubstr("400 image_host_not_allowed p | p: ")) << url;
  }
}

TEST(RemotePictures, HaveAPlainUrlOfAnAllowedHost) {
  EXPECT_THAT(remote_fault("https://evil.org/a.png"),
              HasSubstr("no pictures from the host 'evil.org'"));
  EXPECT_THAT(remote_fault("https://example.org.evil.org/"), HasSubstr("image_host_not_allowed"));
  EXPECT_THAT(remote_fault("https://evil.org\\@example.org/"), HasSubstr("400 "));
  EXPECT_THAT(remote_fault("https://example.org@evil.org/"),
              HasSubstr("without user and password"));
  EXPECT_THAT(remote_fault("https://user:pass@example.org/"),
              HasSubstr("without user and password"));
  EXPECT_THAT(remote_fault("https://example.org:22/"), HasSubstr("expected port 443, got 22"));
  EXPECT_THAT(remote_fault("http://example.org/"), HasSubstr("expected an https:// URL"));
  EXPECT_THAT(remote_fault("ftp://example.org/"), HasSubstr("expected an https:// URL"));
  EXPECT_THAT(remote_fault("https://"), HasSubstr("not valid"));
}

}  // namespace
}  // namespace blip2
