exec ruby main.rb
